#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What cannot be saved faithfully is found before a byte is written and named in one line; the program
goes on, and at the end everything it held is as it was."""

import os
import re
import sys
import time

import harness

# What the victim holds, and what the line must say beside naming the descriptor or process.
KINDS = {
    "socket": "socket",
    "child": "child|process",
    "zombie": "zombie|unreaped|child|wait",
    "shared-file": "shared.*shared\\.bin|shared\\.bin.*shared",
    "shared-anonymous": "shared",
    "shm": "System V|SysV|shm",
    "timerfd": "timerfd",
    "eventfd": "eventfd",
    "epoll": "epoll|eventpoll",
    "mqueue": "message queue",
    "packets": "packet mode",
    "other-name": "first\\.bin",
    "namespace": "kernel object.*uts:",
    "descriptor-table": "modify_ldt",
    "page-zero": "memory at 0.*address 0",
}


def case(setup, kind, options):
    session = harness.Session(setup)
    process = session.start(session.victim("refused", kind), *options, ready=False)
    if not process.out.wait_for(b"ready\n", 20):
        if process.ended(1) and process.status == harness.SKIPPED:
            raise harness.Skip(process.out.all().decode().strip())
        process.wait_output(b"ready\n")
    announced = process.out.seen().decode()
    words = [KINDS[kind]]
    for what in ("fd", "child"):
        number = re.search(rf"^{what} (\d+)$", announced, re.M)
        if number:
            words.append((r"\b(fd|descriptor) " if what == "fd" else r"\b") + number[1] + r"\b")
    listing = sorted(os.listdir(session.cwd))
    said = ""
    for _ in range(3):
        process.signal(harness.TRIGGER)
        process.wait_until(lambda: process.err.seen().endswith(b"\n") and
                           len(process.err.seen()) > len(said), "a line that says why")
        time.sleep(0.03)
        now = process.err.seen().decode()
        harness.expect_line(kind, now[len(said):], *words)
        said = now
        if sorted(os.listdir(session.cwd)) != listing:
            raise harness.Failure(f"files written: {os.listdir(session.cwd)}")
    worked = process.work()
    process.wait_until(lambda: process.work() > worked + 0.01, "it goes on working")
    session.end(output=announced.encode() + b"ok\n", stderr=said)


def body(setup):
    harness.run_cases(setup, [
        (" ".join([kind, *options]), lambda kind=kind, options=options: case(setup, kind, options))
        for kind in KINDS for options in ((), ("-c",))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
