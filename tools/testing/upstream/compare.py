# SPDX-License-Identifier: GPL-2.0
"""usage: compare.py LIST OURS [C]: what became of each instance of a test, as KTAP.

OURS and C are what the test has printed with this driver and with the C driver. An
instance must pass, unless LIST says why it cannot: then it must fail.
"""
import fnmatch
import re
import sys


class Run:
    """What a test has printed: a verdict for each instance, and why."""

    def __init__(self, path):
        self.verdicts, self.notes, self.planned = {}, {}, 0
        notes = []
        with open(path, encoding='utf-8', errors='replace') as file:
            for line in file:
                notes.append(line.rstrip())
                plan = re.match(r'1\.\.(\d+)', line)
                found = re.match(r'(not )?ok \d+ (\S+)(?:.*# SKIP (.*))?', line)
                if plan:
                    # There may be several programs.
                    self.planned += int(plan.group(1))
                if found:
                    name = found.group(2)
                    self.verdicts[name] = 'failed' if found.group(1) else \
                        'skipped' if found.group(3) else 'passed'
                    self.notes[name] = [found.group(3)] if found.group(3) else notes[:-1]
                    notes = []
        self.rest = notes

    def ended(self):
        """Whether all of it was run."""
        return 0 < self.planned == len(self.verdicts)


class List:
    """Patterns of instances, each with the reason why they cannot pass, or nothing."""

    def __init__(self, path):
        with open(path, encoding='utf-8') as file:
            lines = [line.split(None, 1) for line in file
                     if line.strip() and not line.startswith('#')]
        self.reasons = {words[0]: words[1].strip() if len(words) > 1 else '' for words in lines}
        self.used = set()

    def pattern(self, name):
        """The first pattern that has the instance."""
        for pattern in self.reasons:
            if fnmatch.fnmatchcase(name, pattern):
                self.used.add(pattern)
                return pattern
        return None


def judge(name, ours, known):
    """Whether an instance is as it should be, what to add to its name, and notes."""
    verdict = ours.verdicts.get(name, 'missing')
    notes = ours.notes.get(name, ['it was not run'])
    pattern = known.pattern(name)
    if pattern is None:
        return False, '', ['it is in no line of the list: say if it must pass, or why not']
    reason = known.reasons[pattern]
    if verdict == 'skipped':
        return True, f' # SKIP {notes[0]}', []
    if not reason:
        return verdict == 'passed', '', notes
    if verdict == 'passed':
        return False, '', ['it passes: take it off the list of what cannot']
    return True, f' # SKIP {reason}', []


def table(runs):
    """How many of each fixture passed in each of the runs, which have names."""
    rows = {}
    for name in names_of(runs):
        # A fixture may have variants, or not.
        fixture = '.'.join(name.split('.')[:-1])
        row = rows.setdefault(fixture, [0] * (len(runs) + 1))
        row[0] += 1
        for column, run in enumerate(runs.values(), 1):
            row[column] += run.verdicts.get(name) == 'passed'
    rows['all'] = [sum(column) for column in zip(*rows.values())]
    width = max(map(len, rows))
    for title, row in {'fixture and variant': ['tests', *runs], **rows}.items():
        yield f'{title:<{width}}' + ''.join(f' {cell:>12}' for cell in row)


def names_of(runs):
    """All instances, in the order in which they were run."""
    return list({name: None for run in runs.values() for name in run.verdicts})


def main():
    known, runs = List(sys.argv[1]), {}
    for title, path in zip(('this driver', 'the C driver'), sys.argv[2:]):
        runs[title] = Run(path)
    ours, results = runs['this driver'], []
    for name in names_of(runs):
        good, more, notes = judge(name, ours, known)
        results.append((good, name + more, notes))
    gone = [pattern for pattern in known.reasons if pattern not in known.used]
    results.append((not gone, 'all that is listed is there', gone))
    for title, run in runs.items():
        results.append((run.ended(), f'all of it was run with {title}', run.rest[-30:]))
    for line in table(runs):
        print('#', line)
    print(f'KTAP version 1\n1..{len(results)}')
    for number, (good, name, notes) in enumerate(results, 1):
        if not good:
            for note in notes:
                print('#', note)
        print('ok' if good else 'not ok', number, name)
    return not all(good for good, _, _ in results)


if __name__ == '__main__':
    sys.exit(main())
