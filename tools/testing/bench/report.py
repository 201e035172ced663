#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Make a table, a JSON file and a plot of what the benchmark found."""

import argparse
import json
import statistics
import sys
import textwrap

import plot

# Ours is measured by both sets of calls that it has.
DRIVERS = {"type1": "type1", "c": "C iommufd", "rust": "ours", "native": "its iommufd",
           "serial": "one thread"}
OURS = ("rust", "native")

# The rows as they are shown: title, and what a value is per.
ROWS = {
    "anon": ("anonymous, 4 KiB pages in order", "4 KiB"),
    "anon-scattered": ("anonymous, 4 KiB pages, scattered", "4 KiB"),
    "thp": ("transparent huge pages", "4 KiB"),
    "hugetlb-2m": ("hugetlb, 2 MiB", "4 KiB"),
    "hugetlb-1g": ("hugetlb, 1 GiB", "4 KiB"),
    "memfd": ("memfd, 4 KiB pages in order", "4 KiB"),
    "memfd-scattered": ("memfd, 4 KiB pages, scattered", "4 KiB"),
    "memfd-file": ("memfd in order, IOAS_MAP_FILE", "4 KiB"),
    "small": ("one 4 KiB page a call", "call"),
    "viommu": ("vIOMMU, 10 000 live of 4 to 64 KiB", "call"),
    "boot": ("guest boot, 3 GiB low + 1 GiB high", "4 KiB"),
    "first-thp": ("first device comes, 256 MiB of THP", "call"),
    "first-anon": ("first device comes, of 4 KiB pages", "call"),
    "two-devices": ("two devices, 4 KiB pages in order", "4 KiB"),
    "two-iommus": ("two IOMMUs and domains, in order", "4 KiB"),
    "two-threads": ("two threads, 4 KiB pages in order", "4 KiB"),
    "fresh-anon": ("untouched, 4 KiB pages", "4 KiB"),
    "fresh-thp": ("untouched, transparent huge pages", "4 KiB"),
    "fresh-hugetlb-2m": ("untouched, hugetlb, 2 MiB", "4 KiB"),
    "fresh-hugetlb-1g": ("untouched, hugetlb, 1 GiB", "4 KiB"),
    "fresh-memfd": ("untouched, memfd", "4 KiB"),
    "fresh-file": ("untouched, memfd, IOAS_MAP_FILE", "4 KiB"),
    "exit-thp": ("killed with 256 MiB THP", "process"),
    "exit-anon": ("killed with 256 MiB of 4 KiB pages", "process"),
    "chosen": ("chosen address among areas", "call"),
    "chosen-holes": ("the same with small holes between", "call"),
    "kmem-anon": ("kernel memory: 4 KiB pages in order", "KiB/GiB"),
    "kmem-scattered": ("kernel memory: 4 KiB pages, scattered", "KiB/GiB"),
    "kmem-thp": ("kernel memory: THP", "KiB/GiB"),
    "kmem-small": ("kernel memory: one 4 KiB page a call", "KiB/GiB"),
}
UNITS = {"attach": "call"}

# What this driver is to reach by any of its calls: the ratio to the better peer.
TARGETS = {
    "anon": {"map": 0.60, "unmap": 0.28},
    "anon-scattered": {"map": 0.95, "unmap": 0.33},
    "thp": {"map": 0.50, "unmap": 0.01},
    "hugetlb-2m": {"map": 0.50, "unmap": 0.01},
    "memfd": {"map": 0.50, "unmap": 0.30},
    "memfd-scattered": {"map": 0.50, "unmap": 0.30},
    "memfd-file": {"map": 0.50, "unmap": 0.30},
    "small": {"map": 0.65, "unmap": 0.90},
    "exit-thp": {"mapped": 0.02},
    "first-thp": {"attach": 0.20},
    "first-anon": {"attach": 1.00},
    "fresh-anon": {"map": 0.66},
    "fresh-thp": {"map": 0.58},
    "fresh-hugetlb-2m": {"map": 0.66},
    "fresh-hugetlb-1g": {"map": 0.71},
    "fresh-memfd": {"map": 0.71},
    "fresh-file": {"map": 0.71},
    "chosen": {"1k": 0.25, "10k": 0.25, "100k": 0.25},
    "chosen-holes": {"1k": 0.25, "10k": 0.25, "100k": 0.25},
}


class Report:
    """What was found, by row and operation and driver."""

    def __init__(self, lines, wall):
        self.wall = wall
        self.found = {}
        self.skipped = {}
        self.memory = {}
        for line in lines:
            words = line.split()
            if words[0] == "sample":
                driver, row, operation, value = words[1:]
                by_driver = self.found.setdefault((row, operation), {})
                by_driver.setdefault(driver, []).append(float(value))
            elif words[0] == "skip":
                self.skipped.setdefault(words[2], {})[words[1]] = " ".join(words[3:])
            elif words[0] == "memory":
                self.memory[words[1]] = {"bytes": int(words[2]), "pieces": int(words[3])}

    def summary(self, operation, samples):
        """Instructions: the best, for only noise adds to it. Real time: the median."""
        middle = self.wall or operation == "memory"
        value = statistics.median(samples) if middle else min(samples)
        if self.wall and len(samples) > 1:
            quarters = statistics.quantiles(samples, n=4, method="inclusive")
            spread = quarters[2] - quarters[0]
        else:
            spread = max(samples) - min(samples)
        return {
            "value": value, "runs": len(samples),
            "spread": round(spread / (max(map(abs, samples)) or 1), 4), "samples": samples,
        }

    def ratio(self, ours, by_driver, summaries):
        """To the better peer; in real time, the median of what the pairs say."""
        peers = [d for d in by_driver if d not in OURS]
        if ours not in by_driver or not peers:
            return None
        peer = min(peers, key=lambda d: summaries[d]["value"])
        if self.wall:
            pairs = [(a, b) for a, b in zip(by_driver[ours], by_driver[peer]) if b]
            return statistics.median(a / b for a, b in pairs) if pairs else None
        better = summaries[peer]["value"]
        return summaries[ours]["value"] / better if better > 0 else None

    def results(self):
        """One dictionary for each row and operation, in the order of ROWS."""
        order = list(ROWS)
        results = []
        for (row, operation), by_driver in self.found.items():
            title, unit = ROWS[row]
            summaries = {d: self.summary(operation, by_driver[d]) for d in DRIVERS if d in by_driver}
            ratios = {d: self.ratio(d, by_driver, summaries) for d in OURS}
            known = [r for r in ratios.values() if r is not None]
            target = TARGETS.get(row, {}).get(operation)
            results.append({
                "row": row, "title": title, "operation": operation,
                "per": UNITS.get(operation, unit), "drivers": summaries,
                "ratios": ratios, "target": target,
                "met": max(known) <= target if known and target is not None else None,
            })
        return sorted(results, key=lambda r: order.index(r["row"]))


def number(value):
    """Three digits, or all before the point."""
    if value is None:
        return "-"
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"


def ratio_text(ratio):
    """A ratio to a peer that may take next to nothing, or not be there."""
    return "-" if ratio is None else "< 0" if ratio < 0 else f"{ratio:.3f}"


def verdict(result):
    """The ratios, and how the worse one stands to its target."""
    text = " ".join(f"{ratio_text(r):>6}" for r in result["ratios"].values())
    if result["met"] is None:
        return text
    return f"{text} {'ok,' if result['met'] else 'NOT'} {result['target']:.2f}"


def print_notes(report):
    """What the figures do not say by themselves."""
    for row, reasons in report.skipped.items():
        for driver, reason in reasons.items():
            print(f"{ROWS[row][0]}: {DRIVERS[driver]} not measured: {reason}")
    pieces = [f"{row} {m['bytes'] >> 20} MiB in {m['pieces']}" for row, m in report.memory.items()]
    print(textwrap.fill("Contiguous pieces of the memory: " + ", ".join(pieces), 110))


def print_table(results):
    """The table for a person."""
    print(f"{'':37} {'':6} {'per':>8} " + " ".join(f"{t:>11}" for t in DRIVERS.values()) +
          f" {'ratios':>13} {'target':>8} {'runs':>4} spread")
    for result in results:
        drivers = result["drivers"]
        values = " ".join(f"{number(drivers.get(d, {}).get('value')):>11}" for d in DRIVERS)
        runs = min(d["runs"] for d in drivers.values())
        spread = max(d["spread"] for d in drivers.values())
        print(f"{result['title']:37} {result['operation']:6} {result['per']:>8} {values} "
              f"{verdict(result):22} {runs:4} {spread:6.1%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--wall", action="store_true", help="the samples are in real time")
    parser.add_argument("--about", default="", help="what was measured, for the titles")
    parser.add_argument("--json", help="file to write the results to")
    parser.add_argument("--svg", help="file to plot them into")
    args = parser.parse_args()

    report = Report(sys.stdin, args.wall)
    results = report.results()
    clock = "ns of real time" if args.wall else "instructions"
    statistic = "median, spread: middle half" if args.wall else "best run, spread: all runs"
    about = f"{clock} ({statistic}); ratios: ours to the better peer; {args.about}"
    print(about)
    print_table(results)
    print_notes(report)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "clock": clock, "results": results,
                       "memory": report.memory, "skipped": report.skipped}, file, indent=1)
    if args.svg:
        with open(args.svg, "w", encoding="utf-8") as file:
            file.write(plot.svg(about, results, DRIVERS, OURS, number))


main()
