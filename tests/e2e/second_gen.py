#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A checkpoint of a restart of a checkpoint …: a thousand in a row, and nothing grows: not the image, not
the number of descriptors, not the number of mappings."""

import os
import re
import sys
import time

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


def trigger_while_restarting(setup):
    """A signal that the program handles, sent while it is being put together, is not lost and does
    not do to the restarter what it would do by default."""
    session = harness.Session(setup)
    session.start(session.victim("tick", "64"))
    session.checkpoint()
    for number in range(20):
        process = session.restart(armed=False)
        before = harness.identity(session.image)
        # Blocked from its first instructions on; before, it is not yet a restart.
        process.wait_until(lambda: re.search(r"^SigBlk:\s*[0-9a-f]*[1-9a-f]", harness.read_proc(
            process.pid, "status"), re.M) or process.catches(harness.TRIGGER), "it has begun")
        time.sleep(setup.random.uniform(0, 0.03))
        process.signal(harness.TRIGGER)
        status = process.wait(20)
        if status != 0 or harness.identity(session.image) == before or process.stderr():
            raise harness.Failure(f"restart {number}: status {status}, {process.stderr()!r}")
        session.output += process.out.all()
    session.restart()
    session.end()


def body(setup):
    count = setup.options.rounds
    harness.run_cases(setup, [
        ("a small program", lambda: generations(setup, victim, count)),
        ("python3", lambda: generations(setup, script, min(50, count // 5))),
        ("a trigger while it restarts", lambda: trigger_while_restarting(setup)),
    ])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--rounds", type=int, default=1000)
    sys.exit(harness.main(made, body))
