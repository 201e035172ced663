# SPDX-License-Identifier: GPL-2.0
"""usage: layering.py TABLE <LIST: check the arrows between the crate's modules.

Also that the word `unsafe` appears in kapi/, mapped.rs and exports.rs only, besides what
bindgen writes for sys.rs, and that the compiler is told so.
"""
import re
import sys

from sourcetext import blank, line_of, matching_brace

FENCED = ('kapi', 'mapped', 'exports', 'sys')


def read_table(path):
    """The level of each module."""
    with open(path, encoding='utf-8') as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith('#')]
    return {name: level for level, names in enumerate(lines) for name in names}


def module_of(path):
    """The module path that a file holds: [] for the crate's root."""
    parts = path.split('drivers/iommu/iommufd/')[1].removesuffix('.rs').split('/')
    return [] if parts == ['main'] else parts


def first_names(text, at):
    """The first segment of the path, or of each path in braces, at an offset."""
    if text[at] != '{':
        name = re.match(r'\s*(\w+)', text[at:])
        return [(name.group(1), at)] if name else []
    end, depth, names = matching_brace(text, at), 0, []
    for mark in re.finditer(r'[{}]|(?:(?<=[{,])|(?<=[{,]\s))\s*(\w+)', text[at:end]):
        if mark.group() in '{}':
            depth += 1 if mark.group() == '{' else -1
        elif depth == 1:
            names.append((mark.group(1), at + mark.start(1)))
    return names


def references(text, module):
    """Each name of the crate's root that a file refers to, with its offset."""
    for found in re.finditer(r'\bcrate\s*::\s*|\b(?:super\s*::\s*)+', text):
        climbs = found.group().count('super')
        if not climbs or climbs >= max(len(module), 1):
            yield from ((name, at, climbs) for name, at in first_names(text, found.end()))


def check_arrows(path, text, levels, modules):
    """Arrows that point up."""
    module = module_of(path)
    own = module[0] if module else 'main'
    if own not in levels:
        yield path, 1, f"module '{own}' has no layer: name it in tools/lint/layers.txt"
        return
    for name, at, climbs in references(text, module):
        # In a module inside the file, `super` is the file itself; a module
        # without a layer is reported where it is.
        if name not in levels and (climbs or name in modules):
            continue
        used = name if name in levels else 'main'
        if used != own and levels[used] > levels[own]:
            yield (path, line_of(text, at),
                   f"'{own}' uses '{used}', which is above it: move the code, or the layer "
                   'in tools/lint/layers.txt')


def check_unsafe(path, text):
    """Unsafe code outside the fence."""
    module = module_of(path)
    if module and module[0] in FENCED:
        return
    for found in re.finditer(r'\bunsafe\b', text):
        yield path, line_of(text, found.start()), 'unsafe: put a safe wrapper into kapi/'
    if module:
        return
    if not re.search(r'#!\[deny\(unsafe_code\)\]|#!\[forbid\(unsafe_code\)\]', text):
        yield path, 1, 'the crate does not begin with #![deny(unsafe_code)]'
    for found in re.finditer(r'#!?\[(?:allow|expect)\(unsafe_code\b[^\n]*\n\s*(?:pub\S* )?(.*)', text):
        if found.group(1) not in [f'mod {name};' for name in FENCED]:
            yield path, line_of(text, found.start()), f'only {', '.join(FENCED)} may be unsafe'


def main():
    levels = read_table(sys.argv[1])
    paths = sys.stdin.read().split()
    modules = {name for path in paths for name in module_of(path)[:1]}
    bad = []
    for path in paths:
        with open(path, encoding='utf-8') as file:
            text = blank(path, file.read())
        bad += [*check_arrows(path, text, levels, modules), *check_unsafe(path, text)]
    for path, line, message in bad:
        print(f'{path}:{line}: {message}')
    print(f'{len(paths)} files, {len(modules)} modules')
    return len(bad) > 0


if __name__ == '__main__':
    sys.exit(main())
