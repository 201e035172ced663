# SPDX-License-Identifier: GPL-2.0
"""Source text without what is only for kernels without functions for IOMMU drivers: in its
own tree the driver is never without them."""
import os
import re
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), '..', 'lint'))
import sourcetext  # pylint: disable=wrong-import-position

# What is always set there.
SET = r'CONFIG_IOMMUFD_DRIVER(?:_CORE)?'

ATTRIBUTE = re.compile(
    rf'^[ \t]*#\[cfg(?P<more>_attr)?\((?P<no>not\()?(?:all\()?{SET}(?:, {SET})*\)*'
    r'(?(more), .*\))\]\n', re.M)
DOCS_BEFORE = re.compile(r'(?:^[ \t]*(?:///|#\[).*\n)+\Z', re.M)
ITEM = re.compile(r'\s*(?:#\[.*\]\s*)*(?:pub(?:\([^)]*\))? )?(?:unsafe )?'
                  r'(?:fn|struct|impl|mod|use|const)\b')


def _item_end(code, start):
    """The end of the item, field or value that begins at an offset."""
    depth, is_item = 0, ITEM.match(code, start)
    for mark in re.finditer(r'[][(){};,]', code[start:]):
        char, at = mark.group(), start + mark.start()
        if char == '{' and depth == 0:
            return sourcetext.matching_brace(code, at) + 1
        if char in '([':
            depth += 1
        elif char in ')]':
            depth -= 1
        elif depth == 0 and (char == ';' or char == ',' and not is_item):
            return at + 1
    return len(code)


def _prune_rust(text):
    at = 0
    while found := ATTRIBUTE.search(text, at):
        before, behind = text[:found.start()], text[found.end():]
        at = found.start()
        if found['no'] and not found['more']:
            code = sourcetext.blank('.rs', text)
            end = _item_end(code, found.end())
            docs = DOCS_BEFORE.search(before)
            before = before[:docs.start()] if docs else before
            behind = text[end:].lstrip(' ').removeprefix('\n')
            at = len(before)
        text = before + behind
    # What has gone leaves no gaps.
    text = re.sub(r'\n{3,}', '\n\n', text)
    text = re.sub(r'\{\n\n', '{\n', text)
    return re.sub(r'\n\n([ \t]*\}\n)', r'\n\1', text)


def _prune_c(text):
    out, kept, inside = [], [True], []
    for line in text.splitlines(keepends=True):
        start = re.match(rf'#\s*(?:if (!)?IS_ENABLED\({SET}\)|if(n)?def {SET})$', line.rstrip())
        if start:
            inside.append(True)
            kept.append(not (start.group(1) or start.group(2)))
        elif re.match(r'#\s*if', line):
            inside.append(False)
            out += [line] if all(kept) else []
        elif re.match(r'#\s*else', line) and inside and inside[-1]:
            kept[-1] = not kept[-1]
        elif re.match(r'#\s*endif', line) and inside and inside.pop():
            kept.pop()
        elif all(kept):
            out.append(line)
    return re.sub(r'\n{3,}', '\n\n', ''.join(out))


def prune(name, text):
    """The text without what is never compiled there."""
    if name.endswith('.rs'):
        return _prune_rust(text)
    if name.endswith(('.c', '.h')):
        return _prune_c(text)
    return text
