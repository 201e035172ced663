# SPDX-License-Identifier: GPL-2.0
"""Make a file for llvm-profdata of the sections that a guest has kept.

usage: profraw.py FOLDER FILE

The format is LLVM's InstrProfData.inc, as its version 19 has it. The compiler's runtime writes it
for programs; a kernel has none.
"""

import os
import struct
import sys

MAGIC = 0xFF << 56 | int.from_bytes(b"lprofr", "big") << 8 | 0x81
VERSION = 10
FUNCTION = 64  # bytes of what is known of one
KINDS = 2  # of values: the last one's number


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as file:
        return file.read()


def main(folder, to):
    data, counts, names = (read(folder, name) for name in ("data", "cnts", "names"))
    at = dict(line.split() for line in read(folder, "at").decode().splitlines())
    distance = int(at["cnts"], 16) - int(at["data"], 16)
    header = [MAGIC, VERSION, 0]
    header += [len(data) // FUNCTION, 0, len(counts) // 8, 0, 0, 0, len(names)]
    header += [distance % (1 << 64), 0, 0, 0, 0, KINDS]
    with open(to, "wb") as file:
        file.write(struct.pack(f"<{len(header)}Q", *header))
        file.write(data + counts + names + bytes(-len(names) % 8))


main(*sys.argv[1:])
