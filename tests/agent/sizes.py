#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What ckpt adds to a program and to each of its images may not grow unnoticed. The limits stand in
docs/FIDELITY.md; agent.handler_stack holds the one of the stack."""

import struct
import sys

KIB = 1024
# What, and how many bytes at most.
LIMITS = {
    "stack of the program that the handler uses": 64,
    "restarter, the head of every image": 128 * KIB,  # with the ways back to a number, and who we are outside
    # With the verifier for ckpt_restart. What is long and runs once in a checkpoint is [[gnu::cold]], which
    # compiles it for size.
    "agent in memory, without its working memory and the restarter it carries": 480 * KIB,
    # With the two lists of regions, the paths for ckpt_fds, names, and the room of who asks from outside,
    # most of which nobody touches.
    "working memory of the agent (zero, touched only during a checkpoint)": 576 * KIB,
}


def loaded(path):
    """(bytes from the file, bytes of zero memory) of an ELF file's segments."""
    with open(path, "rb") as file:
        image = file.read()
    offset, = struct.unpack_from("<Q", image, 32)
    size, count = struct.unpack_from("<HH", image, 54)
    from_file = zero = 0
    for i in range(count):
        kind, _, _, _, _, filesz, memsz, _ = struct.unpack_from("<IIQQQQQQ", image, offset + i * size)
        if kind == 1:
            from_file += filesz
            zero += memsz - filesz
    return from_file, zero


def main(library, restarter):
    head = sum(loaded(restarter)[:1])
    code, zero = loaded(library)
    names = list(LIMITS)
    found = {names[1]: head, names[2]: code - head, names[3]: zero}
    failed = False
    for what, size in found.items():
        print(f"{what}: {size} of at most {LIMITS[what]} bytes")
        failed = failed or not 0 < size <= LIMITS[what]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
