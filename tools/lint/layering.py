# SPDX-License-Identifier: GPL-2.0
"""usage: layering.py TABLE <LIST: check the arrows between the crate's modules.

Rooms, which are the modules that main.rs declares, use only those below them in the
table; the files of a room use each other in no circle. The word `unsafe` appears in
kapi/, space/mapped.rs, exports.rs and mock/face/ only, besides what bindgen writes for
sys.rs and mock/sys.rs, and the compiler is told so.
"""
import re
import sys

from sourcetext import blank, line_of

FENCED = ('kapi', 'space/mapped', 'exports', 'sys', 'mock/face', 'mock/sys')


def read_table(path):
    """The level of each room."""
    with open(path, encoding='utf-8') as file:
        lines = [line.split() for line in file if line.strip() and not line.startswith('#')]
    return {name: level for level, names in enumerate(lines) for name in names}


def module_of(path):
    """The module path that a file holds: () for the crate's root."""
    parts = path.split('drivers/iommu/iommufd/')[1].removesuffix('.rs').split('/')
    return () if parts == ['main'] else tuple(parts)


def tree_paths(text, at):
    """The paths of a tree as `use` has them, each with its offset, and where it ends."""
    name = re.compile(r'\s*(\w+|\*)').match(text, at)
    if name:
        rest = re.compile(r'\s*::\s*').match(text, name.end())
        if not rest:
            return [((name.group(1),), name.start(1))], name.end()
        below, end = tree_paths(text, rest.end())
        return [((name.group(1), *path), name.start(1)) for path, _ in below], end
    brace = re.compile(r'\s*\{').match(text, at)
    if not brace:
        return [], at
    paths, at = [], brace.end()
    while not re.compile(r'\s*\}').match(text, at):
        below, end = tree_paths(text, at)
        paths += below
        comma = re.compile(r'[^,{}]*,').match(text, end)
        at = comma.end() if comma else end
        if not comma:
            at = text.index('}', end)
    return paths, text.index('}', at) + 1


def references(text, module):
    """The module paths that a file refers to, each with its offset."""
    # Tests are a module of their own, at the end of the file.
    tests = re.search(r'^mod \w+ \{', text, re.MULTILINE)
    for found in re.finditer(r'\bcrate\s*::\s*|\b(?:super\s*::\s*)+', text):
        climbs = found.group().count('super')
        if tests and found.start() > tests.start():
            climbs = max(climbs - 1, 0)
            if not climbs and found.group() != 'crate::':
                continue
        base = module[:len(module) - climbs] if climbs else ()
        for path, at in tree_paths(text, found.end())[0]:
            # The kernel's module!() makes that name, for everybody.
            if path != ('LocalModule',):
                yield (*base, *path), at


def file_of(path, modules):
    """The file that a path leads into."""
    while path not in modules:
        path = path[:-1]
    return path


def arrows(text, module, modules):
    """What other files a file uses, each with an offset."""
    for path, at in references(text, module):
        used = file_of(path, modules)
        if used != module:
            yield used, at


def check_rooms(path, module, uses, levels):
    """Arrows that point up between rooms."""
    own = module[0] if module else 'main'
    if own not in levels:
        yield path, 1, f"room '{own}' has no layer: name it in tools/lint/layers.txt"
        return
    for used, line in uses:
        other = used[0] if used else 'main'
        if other in levels and levels[other] > levels[own]:
            yield path, line, f"'{own}' uses '{other}', which is above it: move the code"


def circle_from(start, graph):
    """A way from a file back to itself, inside its room."""
    todo, seen = [(start, (start,))], set()
    while todo:
        here, way = todo.pop()
        for used in graph[here]:
            if used == start:
                return way
            if used not in seen and used and start and used[0] == start[0]:
                seen.add(used)
                todo.append((used, (*way, used)))
    return None


def check_circles(paths, graph):
    """Files of a room that use each other in a circle, each circle once."""
    told = set()
    for module in sorted(graph):
        way = circle_from(module, graph) if module else None
        if way and not told & set(way):
            told |= set(way)
            names = ' -> '.join('::'.join(part) for part in (*way, module))
            yield paths[module], 1, f'a circle: {names}'


def check_unsafe(path, module, text):
    """Unsafe code outside the fence."""
    if any('/'.join(module[:depth]) in FENCED for depth in (1, 2)):
        return
    for found in re.finditer(r'\bunsafe\b', text):
        yield path, line_of(text, found.start()), 'unsafe: put a safe wrapper into kapi/'
    if not module and not re.search(r'#!\[(?:deny|forbid)\(unsafe_code\)\]', text):
        yield path, 1, 'the crate does not begin with #![deny(unsafe_code)]'
    for found in re.finditer(r'#!?\[(?:allow|expect)\(unsafe_code\b[^\n]*\n\s*(?:pub\S* )?(.*)', text):
        name = re.match(r'mod (\w+);', found.group(1))
        if not name or '/'.join((*module, name.group(1))) not in FENCED:
            yield path, line_of(text, found.start()), f'only {", ".join(FENCED)} may be unsafe'


def main():
    levels = read_table(sys.argv[1])
    paths = {module_of(path): path for path in sys.stdin.read().split()}
    bad, graph = [], {}
    for module, path in paths.items():
        with open(path, encoding='utf-8') as file:
            text = blank(path, file.read())
        uses = [(used, line_of(text, at)) for used, at in arrows(text, module, paths)]
        graph[module] = {used for used, _ in uses}
        bad += [*check_rooms(path, module, uses, levels), *check_unsafe(path, module, text)]
    bad += check_circles(paths, graph)
    for path, line, message in bad:
        print(f'{path}:{line}: {message}')
    print(f'{len(paths)} files in {len(levels)} rooms')
    return len(bad) > 0


if __name__ == '__main__':
    sys.exit(main())
