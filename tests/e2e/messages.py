#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Where messages go and how many there are: --verbose, --quiet, CKPT_LOG; never into a file that the
program has opened where its standard error was."""

import os
import re
import signal
import socket
import sys
import time

import harness

COMPLETE = r"^ckpt: checkpoint \S+image\.ckpt, \d+ bytes, \d+ ms, of which the program stood still \d+ ms$"


def refuse(session):
    """From now on a checkpoint cannot be made: something that is no file has the image's name."""
    session.image.unlink(missing_ok=True)
    (session.cwd / "image.ckpt").mkdir()


def wait_for_file(process, path, wanted):
    def there():
        try:
            return re.search(wanted, path.read_text())
        except FileNotFoundError:
            return False
    process.wait_until(there, f"{path.name} has {wanted!r}")


def verbose(setup):
    for env, options in (({}, ("-v",)), ({}, ("--verbose",)), ({"CKPT_VERBOSE": "yes"}, ())):
        session = harness.Session(setup)
        process = session.start(session.victim("tick"), "-c", *options, env=env)
        for number in range(1, 3):
            harness.checkpoint_and_continue(process, session.image)
            process.wait_until(lambda: process.err.seen().count(b"\n") == number, "a line")
        for line in process.err.seen().decode().splitlines():
            harness.expect_line("--verbose", line, COMPLETE)
        said = process.err.seen().decode()
        numbers = [int(n) for n in re.findall(r" (\d+) ms", said)]
        if numbers[0] < numbers[1] or numbers[2] < numbers[3]:
            raise harness.Failure(f"stood still longer than it took: {said}")
        size = os.stat(session.image).st_size
        if f", {size} bytes" not in said:
            raise harness.Failure(f"not its size {size}: {said}")
        session.end(stderr=said)
    # Of one that ends the program, too.
    session = harness.Session(setup)
    process = session.start(session.victim("tick"), "-v")
    process.signal(harness.TRIGGER)
    if process.wait() != 0:
        raise harness.Failure(f"status {process.status}")
    harness.expect_line("--verbose at the end", process.stderr(), COMPLETE)


def quiet(setup):
    """Nothing but what could not be done."""
    for env, options in (({}, ("-q",)), ({}, ("--quiet",)), ({"CKPT_QUIET": "1"}, ()),
                         ({"CKPT_QUIET": "1"}, ("-v",))):
        session = harness.Session(setup)
        process = session.start(session.victim("tick"), "-c", *options, env=env)
        harness.checkpoint_and_continue(process, session.image)
        refuse(session)
        process.signal(harness.TRIGGER)
        process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a refusal")
        said = process.err.seen().decode()
        harness.expect_line("--quiet", said, "no checkpoint of process")
        session.end(stderr=said)
    status, out, err = setup.run([setup.ckpt, "-q", "-z", "often", "/bin/true"], setup.directory("w"))
    harness.expect_refusal("--quiet and a bad option", status, out, err, "often")


DATABASE = """
import socket, sys
how = sys.argv[1]
records = [b"record %d\\n" % i for i in range(2000)]
keep = None
if how == "database":
    os.close(2)
    assert os.open("database", os.O_RDWR | os.O_CREAT, 0o600) == 2
elif how == "same-number":
    # A file system that gives a number out again makes the new file look like the old one.
    os.close(2)
    os.unlink("messages")
    assert os.open("database", os.O_RDWR | os.O_CREAT, 0o600) == 2
elif how == "closed":
    os.close(2)
elif how == "null":
    os.dup2(os.open("/dev/null", os.O_RDWR), 2)
ready()
while not os.path.exists("stop"):
    time.sleep(0.004)
if how in ("database", "same-number"):
    for record in records: os.write(2, record)
    want = b"".join(records)
    got = os.pread(2, len(want) + 4096, 0)
    os.write(1, b"ok\\n" if got == want else b"damaged\\n" + got[:200])
else:
    os.write(1, b"ok\\n")
"""


def replaced(setup):
    """Standard error is something else now: messages go to CKPT_LOG, if there is one."""
    for how in ("database", "closed", "null", "same-number"):
        for log in ("log", None, "absolute"):
            session = harness.Session(setup)
            argv = session.script(DATABASE)
            env = {}
            path = session.cwd / "log"
            if log:
                env["CKPT_LOG"] = str(path) if log == "absolute" else log
            messages = open(session.cwd / "messages", "wb")
            setup.give(session.cwd)
            process = session.start([*argv, how], "-c", "-v", env=env, stderr=messages)
            messages.close()   # so that its number is free when the program has closed it
            for _ in range(2):
                harness.checkpoint_and_continue(process, session.image)
            refuse(session)
            for _ in range(2):
                process.signal(harness.TRIGGER)
                time.sleep(0.05)
            if log:
                wait_for_file(process, path, r"(?s)(checkpoint \S+image.ckpt, \d.*\n.*){2}no checkpoint")
                for line in path.read_text().splitlines():
                    harness.expect_line(how, line, "checkpoint")
                if path.stat().st_mode & 0o077:
                    raise harness.Failure(f"others may read the log: {path.stat().st_mode:o}")
            session.output = b""
            session.stop()
            status = process.wait()
            if (status, process.out.all()) != (0, b"ready\nok\n"):
                raise harness.Failure(f"{how}, log {log}: {status}, {process.out.all()!r}")
            if (session.cwd / "messages").exists() and (session.cwd / "messages").read_bytes():
                raise harness.Failure(f"{how}: {(session.cwd / 'messages').read_bytes()!r}")


def restarted(setup):
    """A restarted program has the descriptor that the program had, and the same holds."""
    session = harness.Session(setup)
    messages = open(session.cwd / "messages", "wb")
    setup.give(session.cwd)
    process = session.start([*session.script(DATABASE), "database"], "-v", env={"CKPT_LOG": "log"},
                            stderr=messages)
    process.signal(harness.TRIGGER)
    if process.wait() != 0:
        raise harness.Failure(f"status {process.status}")
    session.output = process.out.all()
    process = session.restart(stderr=messages)
    refuse(session)
    process.signal(harness.TRIGGER)
    time.sleep(0.05)
    session.stop()
    if process.wait() != 0 or session.output + process.out.all() != b"ready\nok\n":
        raise harness.Failure(f"restarted: {process.status} {process.out.all()!r}")


def awkward_logs(setup):
    """A log that cannot be written costs the line and nothing else."""
    session = None
    for kind in ("fifo", "directory", "nowhere", "unwritable", "link", "full"):
        session = harness.Session(setup)
        path = session.cwd / "log"
        env = {"CKPT_LOG": "log"}
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        elif kind == "nowhere":
            env["CKPT_LOG"] = "no/such/place"
        elif kind == "unwritable":
            path.touch(0o400)
        elif kind == "link":
            (session.cwd / "elsewhere").write_text("mine\n")
            path.symlink_to("elsewhere")
        elif kind == "full":
            env["CKPT_LOG"] = "/dev/full"
        setup.give(session.cwd)
        process = session.start([*session.script(DATABASE), "closed"], "-c", "-v", env=env)
        for _ in range(3):
            harness.checkpoint_and_continue(process, session.image)
        refuse(session)
        process.signal(harness.TRIGGER)
        time.sleep(0.05)
        if kind == "link" and (session.cwd / "elsewhere").read_text() != "mine\n":
            raise harness.Failure("wrote through a link")
        session.end()


def sockets(setup):
    """Standard error has become one end of a pair of sockets that the program reads from."""
    session = harness.Session(setup)
    process = session.start(session.script("""
import socket
a, b = socket.socketpair()
os.dup2(a.fileno(), 2)
ready()
wait()
b.setblocking(False)
try:
    os.write(1, b"came: " + b.recv(1000))
except BlockingIOError:
    os.write(1, b"ok\\n")
"""), "-c", "-v", env={"CKPT_LOG": "log"})
    harness.checkpoint_and_continue(process, session.image)
    wait_for_file(process, session.cwd / "log", COMPLETE[1:-1])
    session.end()


def body(setup):
    harness.run_cases(setup, [(name, (lambda case: lambda: case(setup))(case)) for name, case in (
        ("verbose", verbose), ("quiet", quiet), ("replaced", replaced), ("restarted", restarted),
        ("awkward logs", awkward_logs), ("sockets", sockets))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
