# SPDX-License-Identifier: GPL-2.0
"""usage: lay.py TOP TREE PATCH IDENT

Make in TREE what one patch of the series changes, and print what the patch says. TREE has
the files of the kernel's that the series changes, and what the patches before have laid in.
PATCH is a file: behind its first line, what the patch says; then parts, each of which begins
with a line of its own:

  == files
      what of TOP is laid in: a file or folder a line
  == FILE HOW: LINE
      what is put into a file of the kernel's; see edit(). @IDENT@ is who sends the series
"""
import pathlib
import re
import sys

import cfg
import crate

# Where what is ours lies in the kernel's tree, if not at the same place.
PLACES = {
    'drivers/iommu/iommufd/main.rs': 'drivers/iommu/iommufd/rust/iommufd_main.rs',
    'drivers/iommu/iommufd/': 'drivers/iommu/iommufd/rust/',
    'Documentation/userspace-api/iommufd.rst': 'Documentation/userspace-api/iommufd-ioasid.rst',
    'Documentation/admin-guide/parallel.rst': 'Documentation/userspace-api/iommufd-parallel.rst',
    'Documentation/driver-api/iommufd.rst': 'Documentation/driver-api/iommufd-rust.rst',
}

# What is otherwise there than in a module that is built for any kernel: in files that match,
# what is replaced by what. The first is as often as it likes, the others once.
EVERYWHERE = [
    (r'\.(rs|c|h)$', r'\bcfg\(IOMMUFD_MOCK\)', 'cfg(CONFIG_IOMMUFD_TEST)'),
    (r'\.rst$', r'cfg\(IOMMUFD_MOCK\)', 'cfg(CONFIG_IOMMUFD_TEST)'),
    (r'\.(rs|c|h|rst)$', r'\bmain\.rs\b', 'iommufd_main.rs'),
    (r'\.rst$', r'drivers/iommu/iommufd(?!/(driver\.c|iommufd_test\.h))\b',
     'drivers/iommu/iommufd/rust'),
    (r'userspace-api/.*\.rst$', r':doc:`iommufd`', ':doc:`iommufd-ioasid`'),
    (r'\.rst$', r':doc:`\.\./admin-guide/parallel`', ':doc:`../userspace-api/iommufd-parallel`'),
    (r'\.rst$', r':doc:`\.\./userspace-api/iommufd`', ':doc:`../userspace-api/iommufd-ioasid`'),
    (r'\.rst$', r':doc:`\.\./driver-api/iommufd`', ':doc:`../driver-api/iommufd-rust`'),
    # Marks of what of a page is tested.
    (r'\.rst$', r'(?m)^\.\. (not )?tested: .*\n\n?', ''),
]
ONCE = [
    # Numbers for local use are not the kernel's to give away.
    ('iommufd_main.rs', r'    // Together they make udev(.|\n)*?alias: .*\n', ''),
    ('iommufd_main.rs', r'/// The node\'s minor number, one of (.|\n)*?const MINOR: i32 = 249;',
     '/// The node\'s minor number is for the kernel to choose.\nconst MINOR: i32 = 255;'),
    ('kapi/device.rs', r'cfg!\(IOMMUFD_NOIOMMU\)',
     'cfg!(any(CONFIG_IOMMUFD_NOIOMMU, CONFIG_IOMMUFD_TEST))'),
    # What knows page tables whose drivers do not read marks.
    ('kapi/dirty.c', r' \*\n \* Without CONFIG_IOMMUFD_DRIVER(.|\n)*?(?= \*/)', ''),
    ('kapi/dirty.c', r'#include <linux/generic_pt/iommu.h>\n', ''),
    ('iommufd-rust.rst', r'; ``make lint`` checks both \(``tools/lint/layers.txt``\)', ''),
    ('iommufd-rust.rst', r'``tools/env/build --mock modules`` makes(.|\n)*?\n\n',
     '``CONFIG_IOMMUFD_TEST`` makes it a part of the driver.\n\n'),
    ('iommufd-rust.rst', r'``mock/format.c`` (.|\n)*?(?=``mock/hardware.c)', ''),
    ('iommufd-rust.rst', r'\nThe selftests that need this IOMMU (.|\n)*?runs them\.\n', ''),
    ('iommufd-rust.rst', r'\n  It is set on kernels with the option(.|\n)*?in test builds\.', ''),
    ('iommufd-ioasid.rst', r' The package \(:doc:`\.\./admin-guide/install`\)(.|\n)*?\.\n', '\n'),
    ('iommufd-ioasid.rst', r'First ask (.|\n)*?of each error\. What else', 'What'),
    ('iommufd-native.rst', r'Debian\'s kernels are built without(.|\n)*?\n\n', ''),
]

# Sections of pages that are about this project's tools.
SECTIONS = {
    'iommufd-rust.rst': ['How to test', 'How it is built'],
    'iommufd-parallel.rst': ['How much it helps'],
}


def fail(message):
    """End, with what is to be done."""
    sys.exit(f'error: {message}')


def without_section(text, title):
    """A page without a section of the highest level, and what is in it."""
    mark = re.escape(title) + r'\n=+\n'
    found = re.search(rf'(?m)^{mark}(.|\n)*?(?=^[^\n]+\n=+\n|\Z)', text)
    if not found:
        fail(f"no section '{title}' is there any more: mend SECTIONS in tools/intree.d/lay.py")
    return text[:found.start()] + text[found.end():]


def otherwise(place, text):
    """The text as it is in the kernel's tree."""
    text = cfg.prune(place, text)
    for name in crate.left_out():
        text = text.replace(f'#include "{pathlib.PurePath(name).name}"\n', '')
    for pattern, old, new in EVERYWHERE:
        if re.search(pattern, place):
            text = re.sub(old, new, text)
    for name, old, new in ONCE:
        if place.endswith('/' + name):
            text, count = re.subn(old, new, text)
            if count != 1:
                fail(f"'{old}' is {count} times in {place}: mend ONCE in tools/intree.d/lay.py")
    for title in SECTIONS.get(pathlib.PurePath(place).name, []):
        text = without_section(text, title)
    return text.rstrip('\n') + '\n'


def place_of(name):
    """Where a file of ours lies there."""
    for ours, theirs in PLACES.items():
        if name.startswith(ours):
            return theirs + name[len(ours):]
    return name


def lay_in(top, tree, name):
    """Lay in a file, or all of a folder."""
    source = top / name
    if not source.exists():
        fail(f'there is no {name}: mend the patches in tools/intree.d')
    for file in sorted(source.rglob('*')) if source.is_dir() else [source]:
        ours = str(file.relative_to(top))
        if file.is_dir() or ours in crate.left_out():
            continue
        target = tree / place_of(ours)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(otherwise(place_of(ours), file.read_text()))


def edit(tree, head, text):
    """Put text into a file of the kernel's: "behind" or "before" the line that the head of the
    part has after the colon, which is there once, or behind the "paragraph" that begins with it,
    or at the "end" of the file, which may be new. Or leave out that line ("without")."""
    name, how, line = re.fullmatch(r'(\S+) (\w+): ?(.*)', head).groups()
    file = tree / name
    lines = file.read_text().splitlines(keepends=True) if file.exists() else []
    places = [i for i, there in enumerate(lines) if there.strip() == line.strip()]
    at = len(lines)
    if how != 'end':
        if len(places) != 1:
            fail(f"'{line}' is {len(places)} times in the kernel's {name}")
        at = places[0]
    if how == 'behind':
        at += 1
    elif how == 'paragraph':
        while at < len(lines) and lines[at].strip():
            at += 1
    elif how == 'without':
        del lines[at]
    lines.insert(at, text)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(''.join(lines))


def main():
    top, tree, patch = map(pathlib.Path, sys.argv[1:4])
    message, *parts = re.split(r'(?m)^== ', patch.read_text().replace('@IDENT@', sys.argv[4]))
    for part in parts:
        head, text = part.split('\n', 1)
        if head == 'files':
            for name in text.split():
                lay_in(top, tree, name)
        else:
            edit(tree, head, text)
    crate.root(top, tree, otherwise)
    print(message.split('\n', 1)[1].strip())


if __name__ == '__main__':
    main()
