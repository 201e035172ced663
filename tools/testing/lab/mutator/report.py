# SPDX-License-Identifier: GPL-2.0
"""Tell, file by file, whether all changes but the explained ones were noticed.

usage: report.py CHANGES UNNOTICED EXPLAINED

CHANGES is what the mutator has printed, and UNNOTICED has the numbers of those that nobody has
noticed. EXPLAINED has paragraphs: "file | function | what becomes of what | the line", several of
these if they have one reason, and, indented, the reason.
"""

import sys


def explained(path):
    """The changes that need not be noticed."""
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n") for line in file]
    for line in lines:
        if line and line[0] not in "#\t":
            yield tuple(line.split(" | ", 3))


def main(changes, unnoticed, reasons):
    with open(unnoticed, encoding="utf-8") as file:
        left = set(file.read().split())
    with open(changes, encoding="utf-8") as file:
        changes = [line.rstrip("\n").split("\t") for line in file]
    reasons = set(explained(reasons))
    files = list(dict.fromkeys(change[1] for change in changes))
    used = set()
    failed = 0

    def result(number, name, findings):
        nonlocal failed
        for finding in findings:
            print(f"# {finding}")
        print(f"{'not ' if findings else ''}ok {number} {name}")
        failed += bool(findings)

    print("KTAP version 1")
    print(f"1..{len(files) + 1}")
    for number, name in enumerate(files, 1):
        findings, same, count = [], 0, 0
        for of, file, line, *change in changes:
            if file != name:
                continue
            count += 1
            if of not in left:
                continue
            key = (file, *change)
            if key in reasons:
                used.add(key)
                same += 1
            else:
                findings.append(f"{name}:{line}: nobody noticed: {' | '.join(key)}")
        print(f"# {count} changes, of which {same} make no difference")
        result(number, name, findings)
    result(
        len(files) + 1,
        "explanations",
        [f"explained, but noticed or not there: {' | '.join(key)}" for key in reasons - used
         if key[0] in files],
    )
    return failed > 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
