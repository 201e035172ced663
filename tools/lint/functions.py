# SPDX-License-Identifier: GPL-2.0
"""usage: functions.py LIMIT <LIST: find functions with more lines than LIMIT."""
import re
import sys

from sourcetext import blank, line_of, matching_brace


def rust_functions(text):
    """Name, first and last line of each function with a body."""
    for found in re.finditer(r'\bfn\s+(\w+)', text):
        depth = 0
        for mark in re.finditer(r'[][(){;]', text[found.end():]):
            if mark.group() in '([':
                depth += 1
            elif mark.group() in ')]':
                depth -= 1
            elif depth == 0:
                if mark.group() == '{':
                    close = matching_brace(text, found.end() + mark.start())
                    yield found.group(1), line_of(text, found.start()), line_of(text, close)
                break


def c_functions(text):
    """The same for C, where a body's braces stand in the first column."""
    for found in re.finditer(r'^((?:[^\n;}#][^\n]*\n)+?)\{\n.*?^\}', text, re.M | re.S):
        name = re.search(r'(\w+)\s*\(', found.group(1))
        yield (name.group(1) if name else '?',
               line_of(text, found.start()), line_of(text, found.end()))


def main():
    limit, functions, long = int(sys.argv[1]), 0, 0
    for path in sys.stdin.read().split():
        with open(path, encoding='utf-8') as file:
            text = blank(path, file.read())
        for name, first, last in (rust_functions if path.endswith('.rs') else c_functions)(text):
            functions += 1
            if last - first + 1 > limit:
                long += 1
                print(f'{path}:{first}: {name} has {last - first + 1} lines: '
                      f'split it, the limit is {limit}')
    print(f'{functions} functions')
    return long > 0


if __name__ == '__main__':
    sys.exit(main())
