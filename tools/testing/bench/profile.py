#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Say which functions the instructions belong to that the plugin has counted."""

import argparse
import bisect
import subprocess

PHASES = ("map", "unmap", "attach")


def read_samples(path):
    """Symbols by address, and what each phase took in all by the clock."""
    symbols, values = [], {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            if words[0] == "symbol":
                symbols.append((int(words[1], 16), words[2], " ".join(words[3:])))
            elif words[0] == "sample" and words[3] in PHASES:
                values[words[3]] = float(words[4])
    return sorted(symbols), values


def count(path, symbols):
    """Instructions of each function in each phase."""
    starts = [symbol[0] for symbol in symbols]
    found = {}
    with open(path, encoding="utf-8") as file:
        for line in file:
            words = line.split()
            address, length = int(words[0], 16), int(words[1])
            place = bisect.bisect_right(starts, address) - 1
            name = symbols[place][1:] if address >> 63 else ("the program itself", "")
            counts = found.setdefault(name, [0] * len(PHASES))
            for phase, times in enumerate(words[2:]):
                counts[phase] += length * int(times)
    return found


def demangle(names):
    """Rust's names as they are written, without the crate's hash."""
    done = subprocess.run(["c++filt", "-s", "rust"], input="\n".join(names), text=True,
                          capture_output=True, check=True)
    return dict(zip(names, done.stdout.splitlines()))


def show(found, values, least):
    """A table a phase. By the clock it took so many a page or call: that is the scale."""
    plain = demangle([name for name, module in found])
    for phase, title in enumerate(PHASES):
        total = sum(counts[phase] for counts in found.values())
        if not total or title not in values:
            continue
        scale = values[title] / total
        print(f"{title}: {values[title]:.1f} instructions")
        for name, counts in sorted(found.items(), key=lambda item: -item[1][phase]):
            if counts[phase] * scale >= least:
                print(f"{counts[phase] * scale:10.1f}  {plain[name[0]]} {name[1]}".rstrip())
        modules = {}
        for (_, module), counts in found.items():
            modules[module] = modules.get(module, 0) + counts[phase] * scale
        for module, value in sorted(modules.items(), key=lambda item: -item[1]):
            if value >= least:
                print(f"{value:10.1f}  in all of {module or 'the kernel and the program'}")
        print()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--least", type=float, default=1)
    parser.add_argument("samples")
    parser.add_argument("counts")
    options = parser.parse_args()
    symbols, values = read_samples(options.samples)
    show(count(options.counts, symbols), values, options.least)


if __name__ == "__main__":
    main()
