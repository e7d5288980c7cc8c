#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A checkpoint of a restart of a checkpoint …: fifty in a row, and nothing grows: not the image, not
the number of descriptors, not the number of mappings."""

import os
import sys

import harness

SLACK = 2 * 4096        # a stack that happened to be deeper by a page when the signal came


def measure(process):
    maps = harness.read_proc(process.pid, "maps").splitlines()
    return len(os.listdir(f"/proc/{process.pid}/fd")), len(maps)


def generations(setup, argv_of, count):
    session = harness.Session(setup)
    session.start(argv_of(session))
    rows = []
    for number in range(count):
        descriptors, mappings = measure(session.process)
        session.checkpoint()
        found = session.image.stat()
        rows.append((descriptors, mappings, found.st_size, found.st_blocks * 512))
        session.restart()
        # Work between two checkpoints, so that a generation is not just the one before.
        before = session.process.work() or 0
        session.process.wait_until(lambda: (session.process.work() or 0) > before + 0.004
                                   or argv_of is script, "work")
    session.end()
    # The first generation is still as exec made it; from the second on all should be alike.
    settled = [max(row[column] for row in rows[1:4]) for column in range(4)]
    for column, name in enumerate(("descriptors", "mappings", "bytes", "stored bytes")):
        last = rows[-1][column]
        if last > settled[column] + (SLACK if column >= 2 else 0):
            raise harness.Failure(
                f"{name} grow: {[row[column] for row in rows[::max(1, count // 12)]]} … {last}")
        first = rows[0][column]
        if last > first + (256 << 10 if column >= 2 else 4):
            raise harness.Failure(f"{name}: {first} in the first generation, {last} in the last")
    print(f"{count} generations: descriptors {rows[0][0]} → {rows[-1][0]}, mappings "
          f"{rows[0][1]} → {rows[-1][1]}, image {rows[0][2]} → {rows[-1][2]} bytes, stored "
          f"{rows[0][3]} → {rows[-1][3]}")


def victim(session):
    return session.victim("tick", "1")


def script(session):
    return session.script('log = open("log", "w")\nready()\nwait()\nos.write(1, b"ok\\n")\n')


def body(setup):
    count = setup.options.rounds
    harness.run_cases(setup, [
        ("a small program", lambda: generations(setup, victim, count)),
        ("python3", lambda: generations(setup, script, max(5, count // 5))),
    ])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--rounds", type=int, default=50)
    sys.exit(harness.main(made, body))
