#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What cannot be saved faithfully is found before a byte is written and named in one line; the program
goes on, and at the end everything it held is as it was."""

import os
import re
import sys
import time

import harness

# What the victim holds: in words, and what the line says of it, beside naming the descriptor or
# process. tests/fidelity.py makes rows of docs/FIDELITY.md of them.
KINDS = {
    "internet": ("a socket of the network", "is a socket"),
    "listening": ("a listening socket", "is a socket that others connect to"),
    "bound": ("a socket with a name, though both ends are in the program", "is a socket with a name"),
    "other-process": ("a socket connected to another process",
                      "is a socket connected to another process"),
    "rights": ("a descriptor on its way through a socket (SCM_RIGHTS)",
               "descriptors are on the way through it (SCM_RIGHTS)"),
    "urgent": ("an urgent byte in a socket (MSG_OOB)", "an urgent byte waits in it (MSG_OOB)"),
    "empty-message": ("an empty message in a socket that has been looked at (MSG_PEEK, or by an "
                      "earlier checkpoint)", "an empty message waits in it"),
    "child": ("a child process", "has a child process"),
    "zombie": ("a child that has not been waited for", "has a child process"),
    "shm": ("System V shared memory whose id is not removed",
            "a System V segment whose id is not removed"),
    "inotify": ("inotify", "of a kind that cannot be saved (anon_inode:inotify)"),
    "mqueue": ("a POSIX message queue", "is a message queue (mq_open)"),
    "other-name": ("a file open for writing that its path no longer leads to", "first.bin"),
    "namespace": ("a namespace file", "a kernel object"),
    "descriptor-table": ("a local descriptor table", "modify_ldt"),
    "page-zero": ("memory at address 0", "memory at 0"),
}


def case(setup, kind, options):
    session = harness.Session(setup)
    process = session.start(session.victim("refused", kind), *options, ready=False)
    if not process.out.wait_for(b"ready\n", 20):
        if process.ended(1) and process.status == harness.SKIPPED:
            raise harness.Skip(process.out.all().decode().strip())
        process.wait_output(b"ready\n")
    announced = process.out.seen().decode()
    words = [re.escape(KINDS[kind][1])]
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
