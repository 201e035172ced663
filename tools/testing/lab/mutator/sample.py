# SPDX-License-Identifier: GPL-2.0
"""Take some changes by lot, the same ones each time.

usage: sample.py CHANGES EXPLAINED COUNT SEED
"""

import random
import sys

from report import explained


def main(changes, reasons, count, seed):
    reasons = set(explained(reasons))
    with open(changes, encoding="utf-8") as file:
        changes = [line.rstrip("\n").split("\t") for line in file]
    open_ones = [change for change in changes if (change[1], *change[3:]) not in reasons]
    taken = random.Random(int(seed)).sample(open_ones, min(int(count), len(open_ones)))
    for change in sorted(taken, key=lambda change: int(change[0])):
        print("\t".join(change))


main(*sys.argv[1:])
