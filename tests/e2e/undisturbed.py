#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs that would notice a stranger: they wait for any child, count SIGCHLD, trace, live under a
strict seccomp filter, are not dumpable, hold a database locked. Checkpoints that are made and
checkpoints that are refused leave them alone, also when the helper is killed in between."""

import os
import re
import subprocess
import sys
import time

import harness
import kills

ROUNDS = 5
REFUSED = {"wait-any": "child process", "ptracer": "child process", "filter": "seccomp"}
SAVED = ("poll-any", "sigchld", "sigchld-ignored", "nocldwait", "subreaper", "not-dumpable")

DATABASE = """
import sqlite3
base = sqlite3.connect("base.db", isolation_level=None)
base.execute("create table if not exists t (n)")
base.execute("begin immediate")
base.execute("insert into t values (1)")
ready()
wait()
base.execute("insert into t values (2)")
base.execute("commit")
os.write(1, b"ok\\n")
"""
INTRUDER = """
import sqlite3, sys
try:
    sqlite3.connect("base.db", timeout=0, isolation_level=None).execute("begin immediate")
except sqlite3.OperationalError as error:
    sys.exit(0 if "locked" in str(error) else str(error))
sys.exit("the database is not locked")
"""


def said(process):
    return process.err.seen().decode(errors="replace")


def refused(setup, kind):
    session = harness.Session(setup)
    process = session.start(session.victim("undisturbed", kind), "-c", ready=False)
    if not process.out.wait_for(b"ready\n", 20) and process.ended(1):
        if process.status == harness.SKIPPED:
            raise harness.Skip(process.out.all().decode().strip())
    process.wait_output(b"ready\n")
    announced, seen = process.out.seen(), ""
    for _ in range(ROUNDS):
        time.sleep(setup.random.uniform(0, 0.03))
        process.signal(harness.TRIGGER)
        process.wait_until(lambda: len(said(process)) > len(seen) and said(process).endswith("\n"),
                           "a line that says why")
        harness.expect_line(kind, said(process)[len(seen):], REFUSED[kind])
        seen = said(process)
    if session.image.exists():
        raise harness.Failure("an image")
    session.end(output=announced + b"ok\n", stderr=seen)


def saved(setup, kind):
    """Many checkpoints with -c, some of them cut short by the death of the helper."""
    session = harness.Session(setup)
    process = session.start(session.victim("undisturbed", kind), "-c")
    for _ in range(ROUNDS * 4):
        time.sleep(setup.random.uniform(0, 0.02))
        harness.checkpoint_and_continue(process, session.image)
    seen, killed = "", 0
    for _ in range(80):
        if killed == ROUNDS:
            break
        before = harness.identity(session.image)
        process.signal(harness.TRIGGER)
        end = time.monotonic() + 0.05
        helper = None
        while helper is None and time.monotonic() < end:
            helper = kills.helper_of(process.pid)
        if helper:
            harness.kill_quietly(helper)
        process.wait_until(lambda: harness.identity(session.image) != before or
                           len(said(process)) > len(seen), "an image or a line")
        while kills.helper_of(process.pid):
            time.sleep(0.005)
        time.sleep(0.02)
        killed += len(said(process)) > len(seen)
        seen = said(process)
    if killed == 0:
        raise harness.Failure("no helper was met")
    time.sleep(0.1)
    seen = said(process)
    for line in seen.splitlines():
        harness.expect_line(kind, line, "helper process died")
    session.end(stderr=seen)


def database(setup, program):
    """The lock of an open transaction holds through checkpoints and after a restart."""
    session = harness.Session(setup)
    intruder = ["/usr/bin/python3", "-I", "-c", INTRUDER]

    def locked(when):
        status, _, err = setup.run(intruder, session.cwd)
        if status != 0:
            raise harness.Failure(f"{when}: {err.strip()}")

    session.start(session.script(DATABASE), "-c")
    locked("before")
    for number in range(1, ROUNDS + 1):
        harness.checkpoint_and_continue(session.process, session.image)
        locked(f"after {number} checkpoints")
    session.process.kill()
    session.output = b"ready\n"
    session.restart()
    locked("after a restart")
    harness.checkpoint_and_continue(session.process, session.image)
    locked("after a checkpoint of the restarted program")
    session.end()
    status, out, err = setup.run(["/usr/bin/python3", "-I", "-c", "import sqlite3; print(sqlite3."
                                  "connect('base.db').execute('select n from t').fetchall())"],
                                 session.cwd)
    if out != "[(1,), (2,)]\n":
        raise harness.Failure(f"the database holds {out!r} {err!r}")


def body(setup):
    setup.random.seed(setup.seed)
    harness.run_cases(setup, [
        *((kind, lambda kind=kind: refused(setup, kind)) for kind in REFUSED),
        *((kind, lambda kind=kind: saved(setup, kind)) for kind in SAVED),
        ("database", lambda: database(setup, "python3")),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
