#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A program that handles, ignores or blocks the trigger's signal, or gives it its default back, does
so for its own purposes; under --verbose a line tells. And a period leaves the program its share."""

import os
import re
import signal
import sys
import time

import harness

TSTP = harness.TRIGGER

# What the program does with the signal, and that it still is so at the end.
TAKES = """
import signal, sys, threading
how = sys.argv[1]
number = signal.SIGTSTP
hits = []
def handler(*_): hits.append(1)
def take():
    if how.startswith("handled"): signal.signal(number, handler)
    elif how == "ignored": signal.signal(number, signal.SIG_IGN)
    elif how == "default": signal.signal(number, signal.SIG_DFL)
if how == "blocked": signal.pthread_sigmask(signal.SIG_BLOCK, [number])
elif how == "handled-in-thread":
    import ctypes
    libc = ctypes.CDLL(None)
    keep = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda n: hits.append(1))
    thread = threading.Thread(target=lambda: libc.signal(int(number), keep))
    thread.start(); thread.join()
else: take()
ready()
while not os.path.exists("stop"): time.sleep(0.004)
if how == "blocked":
    assert signal.sigpending() == ({number} if os.path.exists("sent") else set()), signal.sigpending()
    signal.sigtimedwait([number], 0)
os.write(1, b"hits %d\\n" % len(hits))
"""


def state_of(pid):
    status = harness.read_proc(pid, "status")
    return next((line.split()[1] for line in status.splitlines() if line.startswith("State:")), "?")


def keeps(setup):
    """The signal is the program's; and a checkpoint comes by no trigger then."""
    for how in ("handled", "handled-in-thread", "ignored", "blocked", "default"):
        session = harness.Session(setup)
        process = session.start([*session.script(TAKES), how], "-c", "-v")
        if how == "blocked":
            (session.cwd / "sent").touch()
        process.signal(TSTP)
        if how == "default":
            process.wait_until(lambda: state_of(process.pid) == "T", "a stop")
            process.signal(signal.SIGCONT)
        elif how.startswith("handled"):
            time.sleep(0.02)
        session.stop()
        if process.wait() != 0 or session.image.exists():
            raise harness.Failure(f"{how}: {process.status}, {process.stderr()!r}, {os.listdir(session.cwd)}")
        hits = 1 if how.startswith("handled") else 0
        if process.out.all() != b"ready\nhits %d\n" % hits or process.stderr():
            raise harness.Failure(f"{how}: {process.out.all()!r} {process.stderr()!r}")


TOLD = {"handled": r"the program handles SIGTSTP, which makes no checkpoint",
        "ignored": r"the program ignores SIGTSTP, which",
        "blocked": r"the program blocks SIGTSTP: .* unblocks it",
        "default": r"has given its default back to SIGTSTP"}


def told(setup):
    """A restart looks. Only a checkpoint by other means finds the signal taken."""
    for how, words in TOLD.items():
        session = harness.Session(setup)
        process = session.start(session.victim("taken_trigger", how), "-c", ready=True)
        process.wait_until(session.image.exists, "an image")
        process.kill()
        for options in ((), ("--verbose",)):
            process = session.restart(*options, armed=False)
            process.wait_output(b"taken\n")
            session.stop()
            if process.wait() != 0:
                raise harness.Failure(f"{how}: {process.status} {process.stderr()!r}")
            lines = [line for line in process.stderr().splitlines() if "SIGTSTP" in line]
            if not options and process.stderr():
                raise harness.Failure(f"{how}: success is silent, but: {process.stderr()!r}")
            if options:
                harness.expect_line(how, lines, words, "-a chooses another")
            session.go_on()


def at_the_start(setup):
    """Inherited: ignored, as nohup(1) does it, is taken all the same; blocked stays the program's."""
    for how, words in (("trap '' TSTP; exec", r"SIGTSTP was ignored where the program begins, and now"),
                       ("block", r"SIGTSTP is blocked where the program begins")):
        for verbose in (False, True):
            session = harness.Session(setup)
            options = ["-c", "-n", session.IMAGE] + (["-v"] if verbose else [])
            tick = [str(word) for word in session.victim("tick")]
            command = [str(setup.ckpt), *options, *tick]
            if how == "block":
                argv = ["/usr/bin/python3", "-I", "-S", "-c",
                        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, "
                        "[signal.SIGTSTP]); os.execv(sys.argv[1], sys.argv[1:])", *command]
            else:
                argv = ["/bin/sh", "-c", f'{how} "$0" "$@"', *command]
            process = session.launch(argv)
            if verbose:
                process.wait_until(lambda: b"\n" in process.err.seen(), "a line")
            said = process.err.seen().decode()
            if verbose:
                harness.expect_line(how, said, words)
            elif said:
                raise harness.Failure(f"{how}: {said!r}")
            if how != "block":
                harness.checkpoint_and_continue(process, session.image)
                if verbose:
                    process.wait_until(lambda: process.err.seen().count(b"\n") == 2, "a line")
                said = process.err.seen().decode()
            session.end(stderr=said)


def short_period(setup):
    """With a period far below what a checkpoint takes, the program has as long for itself."""
    session = harness.Session(setup)
    process = session.start(session.victim("tick", "64"), "-z", "1", "-v")
    already = process.err.seen().count(b"\n")
    process.wait_until(lambda: process.err.seen().count(b"\n") > already, "an image")
    start = time.monotonic()
    process.wait_until(lambda: process.err.seen().count(b"\n") >= already + 8, "eight images", 60)
    passed = (time.monotonic() - start) * 1000
    took = [int(ms) for ms in re.findall(r" bytes, (\d+) ms", process.err.seen().decode())]
    took = took[already:already + 8]
    if passed < sum(took[1:]) + sum(took[:-1]) / 2:
        raise harness.Failure(f"checkpoints of {took} ms in {passed:.0f} ms")
    process.kill()


def without_siginfo(setup):
    """bash puts the disposition back without SA_SIGINFO when a child has ended: a tick is still none of
    the requests that end it, and a request is."""
    loop = "/bin/true; echo ready; while [ ! -e stop ]; do :; done; echo ok"
    session = harness.Session(setup)
    process = session.start(["/bin/bash", "-c", loop], "-z", "50")
    for _ in range(4):
        before = session.image.stat().st_mtime_ns if session.image.exists() else 0
        process.wait_until(lambda: session.image.exists() and
                           session.image.stat().st_mtime_ns != before, "the next image")
    session.end()
    session = harness.Session(setup, "asked")
    process = session.start(["/bin/bash", "-c", loop])
    process.signal(TSTP)
    if process.wait() != 0 or not session.image.exists():
        raise harness.Failure(f"asked to end: status {process.status}, {process.stderr()!r}")


def refused_once(setup):
    """What stops one checkpoint of the period stops the next, and is said once."""
    session = harness.Session(setup)
    process = session.start(session.script(
        "import subprocess\nchild = subprocess.Popen(['/bin/sleep', '600'])\nready()\nwait()\n"
        "child.kill(); child.wait()\nprint('ok')\n"), "-z", "30")
    process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a line that says why")
    time.sleep(0.5)     # for more ticks
    said = process.err.seen().decode()
    harness.expect_line("a refused period", said, "has a child process")
    session.stop()
    if process.wait() != 0:
        raise harness.Failure(f"status {process.status}, {process.stderr()!r}")


def body(setup):
    harness.run_cases(setup, [(name, (lambda case: lambda: case(setup))(case)) for name, case in (
        ("keeps it", keeps), ("told at a restart", told), ("at the start", at_the_start),
        ("a short period", short_period),
        ("bash without siginfo", without_siginfo),
        ("refused once", refused_once))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
