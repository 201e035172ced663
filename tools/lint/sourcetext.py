# SPDX-License-Identifier: GPL-2.0
"""Source text with everything that is not code blanked out."""
import re

# Comments, strings and characters; a lifetime ('a) is none of them.
_RUST = re.compile(
    r'//[^\n]*'
    r'|/\*'
    r'|\b[bc]?r(?P<hashes>#*)".*?"(?P=hashes)'
    r'|"(?:\\.|[^"\\])*"'
    r"|'(?:\\[^\n]+?|[^'\\\n])'",
    re.S)
_C = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"' r"|'(?:\\.|[^'\\\n])+'", re.S)


def _spaces(text):
    return re.sub(r'[^\n]', ' ', text)


def _nested_comment_end(text, start):
    """The end of a Rust block comment, which may hold others."""
    depth = 0
    for mark in re.finditer(r'/\*|\*/', text[start:]):
        depth += 1 if mark.group() == '/*' else -1
        if depth == 0:
            return start + mark.end()
    return len(text)


def blank(path, text):
    """The text, each line at its place, without comments and literals."""
    if not path.endswith('.rs'):
        return _C.sub(lambda m: _spaces(m.group()), text)
    out, at = [], 0
    while found := _RUST.search(text, at):
        end = found.end()
        if found.group() == '/*':
            end = _nested_comment_end(text, found.start())
        out += [text[at:found.start()], _spaces(text[found.start():end])]
        at = end
    return ''.join(out) + text[at:]


def line_of(text, offset):
    """The number of the line that the character at an offset is in."""
    return text.count('\n', 0, offset) + 1


def matching_brace(text, start):
    """The offset of the brace that closes the one at start."""
    depth = 0
    for mark in re.finditer(r'[{}]', text[start:]):
        depth += 1 if mark.group() == '{' else -1
        if depth == 0:
            return start + mark.start()
    return len(text) - 1
