#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What ckpt_region keeps out of an image is not in its bytes, wherever they are looked for; what
it does not speak of is. In the first image and in the image of a restart."""

import sys

import harness

PAGE = 4096
WINDOW = 16
# Of tests/victims/regions.cpp: seed, offset of bytes, whether an image may have them.
BYTES = [
    ("private, zero", 1, 200, False),
    ("private, zero, on a page that is not all zero", 1, 3 * PAGE + 20, False),
    ("private, behind it", 1, 3 * PAGE + 50, True),
    ("private, kept", 1, 5 * PAGE, True),
    ("private, omitted", 1, 11 * PAGE + 100, False),
    ("private, omitted in part", 1, 22 * PAGE - 8, False),
    ("private, kept in the end", 1, 32 * PAGE + 8, True),
    ("heap, zero", 2, 5010, False),
    ("heap, kept", 2, 7500, True),
    ("stack, zero", 3, 40, False),
    ("stack, omitted", 3, 3 * PAGE, False),
    ("stack, kept", 3, 6 * PAGE, True),
    ("shared, zero", 4, 2 * PAGE + 10, False),
    ("shared, kept", 4, 4 * PAGE, True),
    ("memory file, zero", 5, PAGE + 500, False),
    ("memory file, omitted", 5, 4 * PAGE + 500, False),
    ("memory file, kept", 5, 3 * PAGE, True),
    ("mapped file, omitted", 6, PAGE + 100, False),
    ("mapped file, kept", 6, 3 * PAGE, True),
]
SECRET = "open-sesame-4711"


def pattern(seed, offset):
    mixed = ((offset + 1) * 0x9e3779b97f4a7c15 ^ (seed + 7) * 0xd6e8feb86659fd93) & (2**64 - 1)
    return (mixed >> 56 ^ mixed >> 24) & 255


def search(setup, image, generation):
    content = image.read_bytes()
    for what, seed, offset, wanted in BYTES:
        found = bytes(pattern(seed, offset + i) for i in range(WINDOW)) in content
        if found != wanted:
            raise harness.Failure(f"generation {generation}: {what}: the image "
                                  f"{'has' if found else 'lacks'} the bytes")
    # libc has had the word in vector registers, so it may be anywhere; but not on purpose.
    _, shown, _ = setup.run([setup.readckpt, "cmdline", image], setup.scratch)
    if SECRET in shown or "stop" not in shown:
        raise harness.Failure(f"generation {generation}: the command line in the image is {shown}")


def case(setup, options):
    session = harness.Session(setup)
    session.start(session.victim("regions", SECRET), *options)
    for generation in range(4):
        # Until it has put its memory in order again.
        before = session.process.work() or 0
        session.process.wait_until(lambda: (session.process.work() or 0) > before + 0.02, "work")
        if options:
            harness.checkpoint_and_continue(session.process, session.image)
        else:
            session.checkpoint()
        search(setup, session.image, generation)
        if not options:
            session.restart()
    session.end()


def zero_in_a_file(setup):
    """Zeros in the image of a mapped file would go into the file."""
    session = harness.Session(setup)
    session.start(session.victim("regions", SECRET, "named"))
    session.process.signal(harness.TRIGGER)
    session.process.wait_until(lambda: session.process.err.seen().endswith(b"\n"), "a line")
    said = session.process.err.seen().decode()
    harness.expect_line("a file", said, "is to be zero in the image", "regions.file")
    session.end(stderr=said)


def body(setup):
    harness.run_cases(setup, [
        ("exit and restart", lambda: case(setup, ())),
        ("-c", lambda: case(setup, ("-c",))),
        ("zeros in a mapped file", lambda: zero_in_a_file(setup)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
