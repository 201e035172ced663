# SPDX-License-Identifier: GPL-2.0
"""A table by file of what was executed, and a list of the lines that were not.

usage: table.py LCOV TREE OUT LEAST

It fails if less than LEAST percent of the lines were executed.
"""

import csv
import os
import re
import sys

# Tables of tests, which are at the end of a file, are not what is to be tested.
TESTS = re.compile(r"^(#\[kunit_tests\(|#\[cfg\((CONFIG_KUNIT|test)\b|mod tests\b)")

# What the compiler writes, or computes by itself as a rule.
WRITTEN = re.compile(r"^\s*#\[")
COMPUTED = re.compile(r"^(\s*)(?:pub(?:\([^)]*\))? )?const fn\b")

# What the documentation includes.
INCLUDED = """.. SPDX-License-Identifier: GPL-2.0

.. csv-table:: What of each file is executed
   :header-rows: 1

"""


class Source:
    """A file of the driver's: how often each line and each way out of a branch was taken."""

    def __init__(self, path, name):
        self.name = name
        with open(path, encoding="utf-8") as file:
            self.text = file.read().splitlines()
        self.end = next(
            (at for at, line in enumerate(self.text, 1) if TESTS.match(line)), len(self.text) + 1
        )
        self.lines = {}
        self.ways = {}

    def count(self, counts, key, line, often):
        if line < self.end and not WRITTEN.match(self.text[line - 1]):
            counts[key] = max(counts.get(key, 0), often)

    def without_computed(self):
        """The same, but for functions that nothing has to execute, and nothing has."""
        for first, line in enumerate(self.text, 1):
            if start := COMPUTED.match(line):
                last = self.text.index(start[1] + "}", first) + 1
                inside = [at for at in self.lines if first <= at <= last]
                if not any(self.lines[at] for at in inside):
                    self.lines = {at: n for at, n in self.lines.items() if at not in inside}
                    self.ways = {
                        way: n for way, n in self.ways.items() if not first <= int(way[0]) <= last
                    }
        return self

    def never(self):
        return [line for line, often in sorted(self.lines.items()) if not often]


def read(lcov, tree):
    """All sources that the records of @lcov are about, by name."""
    driver = os.path.join(tree, "drivers/iommu/iommufd")
    sources = {}
    source = None
    with open(lcov, encoding="utf-8") as file:
        for record in file:
            kind, _, rest = record.strip().partition(":")
            if kind == "SF":
                source = None
                if rest.startswith(driver + "/"):
                    name = os.path.relpath(rest, driver)
                    source = sources.setdefault(name, None) or Source(rest, name)
                    sources[name] = source
            elif source and kind == "DA":
                line, often = map(int, rest.split(",")[:2])
                source.count(source.lines, line, line, often)
            elif source and kind == "BRDA":
                line, block, way, often = rest.split(",")
                often = 0 if often == "-" else int(often)
                source.count(source.ways, (line, block, way), int(line), often)
    return [sources[name].without_computed() for name in sorted(sources)]


def row(name, lines, ways):
    def part(counts):
        taken = sum(1 for often in counts if often)
        percent = f"{100 * taken / len(counts):.1f}" if counts else ""
        return [len(counts), taken, percent]

    return [name, *part(lines), *part(ways)]


def table(sources, file):
    """A line for each, and the sums, of all but the IOMMU in software."""
    out = csv.writer(file, lineterminator="\n")
    out.writerow(["file", "lines", "executed", "%", "ways out of branches", "taken", "%"])
    lines, ways = [], []
    for source in sources:
        if not source.lines:
            continue
        out.writerow(row(source.name, source.lines.values(), source.ways.values()))
        if not source.name.startswith("mock"):
            lines += source.lines.values()
            ways += source.ways.values()
    total = row("all but mock/", lines, ways)
    out.writerow(total)
    return total


def main(lcov, tree, to, least):
    sources = read(lcov, tree)
    with open(os.path.join(to, "table.csv"), "w", encoding="utf-8") as file:
        total = table(sources, file)
    with open(os.path.join(to, "table.csv"), encoding="utf-8") as file:
        rows = file.readlines()
    with open(os.path.join(to, "table.txt"), "w", encoding="utf-8") as file:
        file.write(INCLUDED + "".join("   " + line for line in rows))
    with open(os.path.join(to, "never"), "w", encoding="utf-8") as file:
        for source in sources:
            for line in source.never():
                print(f"{source.name}:{line}: {source.text[line - 1].strip()}", file=file)
    print(f"lines: {total[2]} of {total[1]} ({total[3]} %)")
    print(f"ways out of branches: {total[5]} of {total[4]} ({total[6]} %)")
    return total[2] * 100 < float(least) * total[1]


sys.exit(main(*sys.argv[1:]))
