# SPDX-License-Identifier: GPL-2.0
"""The root of the crate while the series goes on: it has the modules that are there."""
import pathlib
import re

HERE = pathlib.Path(__file__).parent
FOLDER = 'drivers/iommu/iommufd/rust'
ROOT = f'{FOLDER}/iommufd_main.rs'

MODULE = re.compile(r'(?:^#\[.*\]\n)*^mod (\w+);\n', re.M)


def left_out():
    """What of the driver is not laid in, each file with the reason in a comment before it."""
    lines = (HERE / 'left-out').read_text().splitlines()
    return {line for line in lines if line and not line.startswith('#')}


def _modules(tree, text):
    """The text without modules that are not there yet."""
    def kept(found):
        there = (tree / FOLDER / f'{found.group(1)}.rs').exists()
        return found.group() if there else ''
    return MODULE.sub(kept, text)


def root(top, tree, otherwise):
    """Write the root, if there are modules: as it is in the end, from when all is there that it
    uses; before, so that it serves nobody. What is to be used later is dead code until then."""
    folder = tree / FOLDER
    if not (folder / 'kapi.rs').exists():
        return
    text = otherwise(ROOT, (top / 'drivers/iommu/iommufd/main.rs').read_text())
    if not (folder / 'uapi.rs').exists():
        modules = ''.join(found.group() for found in MODULE.finditer(text))
        module = re.search(r'(?m)^module! \{\n(.|\n)*?^\}\n', text).group()
        text = (HERE / 'root.rs').read_text()
        text = text.replace('// MODULES\n', modules).replace('// MODULE\n', module)
    text = _modules(tree, text)
    if not (folder / 'exports.rs').exists():
        text = text.replace('#![deny(unsafe_code)]\n',
                            '#![deny(unsafe_code)]\n#![expect(dead_code)]\n')
    (tree / ROOT).write_text(text)
