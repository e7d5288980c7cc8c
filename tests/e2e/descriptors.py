#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Descriptors that are left behind or opened elsewhere, as the program says by ckpt_fds or its user
by --ignore-fd: closed ones, ignored ones, files that have moved; in several generations."""

import sys

import harness

DATA = "some and what more\n"
MOVED = "else elsewhere!\n"


def begin(setup, mode, *options, **more):
    session = harness.Session(setup)
    (session.cwd / "data.txt").write_text(DATA)
    (session.cwd / "moved.txt").write_text(MOVED)
    setup.give(session.cwd / "data.txt")
    setup.give(session.cwd / "moved.txt")
    session.start(session.victim("descriptor_table", mode), *options, **more)
    return session


def restarts(setup, mode, *options, generations=3, **more):
    """Checkpoint and restart, and at the end the program looks at itself."""
    session = begin(setup, mode, *options, **more)
    for _ in range(generations):
        session.checkpoint()
        session.restart()
    session.end()
    return session


def goes_on(setup, mode, *options):
    session = begin(setup, mode, "-c", *options)
    for _ in range(3):
        harness.checkpoint_and_continue(session.process, session.image)
    session.end()


def paths_in_image(setup, mode, in_image):
    """The old files are gone; a path that is there later is taken as it is."""
    session = begin(setup, mode)
    session.checkpoint()
    _, shown, _ = setup.run([setup.readckpt, "fds", session.image], session.cwd)
    if ("log2.txt" in shown) != in_image:
        raise harness.Failure(f"readckpt shows {shown}")
    (session.cwd / "log.txt").rename(session.cwd / "put-away")
    if in_image:
        (session.cwd / "data.txt").unlink()
        (session.cwd / "device.txt").write_text("")
        setup.give(session.cwd / "device.txt")
    session.restart()
    session.end()
    if (session.cwd / "log2.txt").read_text() != "more\n":
        raise harness.Failure("the other log has " + repr((session.cwd / "log2.txt").read_text()))


def refused(setup, mode, options, *words):
    session = begin(setup, mode, *options)
    session.process.signal(harness.TRIGGER)
    session.process.wait_until(lambda: session.process.err.seen().endswith(b"\n"), "a line")
    said = session.process.err.seen().decode()
    harness.expect_line(mode, said, *words)
    if session.image.exists():
        raise harness.Failure("there is an image")
    session.end(stderr=said)


def meaningless(setup):
    for value in ("5,", "fd", "-1", "99999999999", ""):
        status, _, stderr = setup.run([setup.ckpt, "--ignore-fd", value, "/bin/true"], setup.scratch)
        if status != 125 or not stderr.startswith("ckpt: --ignore-fd"):
            raise harness.Failure(f"{value!r}: status {status}, {stderr!r}")


def body(setup):
    both = ["--ignore-fd", "all"]
    harness.run_cases(setup, [
        ("types", lambda: restarts(setup, "types")),
        ("types, -c", lambda: goes_on(setup, "types")),
        ("closed in a callback", lambda: restarts(setup, "close")),
        ("closed in a callback, -c", lambda: goes_on(setup, "close")),
        ("one end, one of two", lambda: restarts(setup, "one-end")),
        ("other paths at a checkpoint", lambda: paths_in_image(setup, "path", True)),
        ("other paths, in many generations", lambda: in_generations(setup)),
        ("other paths at a restart", lambda: paths_in_image(setup, "restart-path", False)),
        ("a socket that is to be restored",
         lambda: refused(setup, "restore", (), "descriptor", "is a socket")),
        ("no option", lambda: refused(setup, "option", (), "descriptor", "is a socket")),
        ("--ignore-fd socket", lambda: refused(setup, "option", ("--ignore-fd", "socket"),
                                               "of a kind that cannot be saved", "inotify")),
        ("--ignore-fd all", lambda: restarts(setup, "option", *both)),
        ("--ignore-fd all, -c", lambda: goes_on(setup, "option", *both)),
        ("--ignore-fd socket, and by number",
         lambda: by_number(setup, lambda fd: ("--ignore-fd", "socket", "--ignore-fd", f"{fd},77"))),
        ("CKPT_IGNORE_FD", lambda: restarts(setup, "option", env={"CKPT_IGNORE_FD": "all"})),
        ("the program says more than its user", lambda: restarts(setup, "types", *both)),
        ("words that mean nothing", lambda: meaningless(setup)),
    ])


def in_generations(setup):
    session = begin(setup, "path")
    (session.cwd / "device.txt").write_text("")
    setup.give(session.cwd / "device.txt")
    for _ in range(5):
        session.checkpoint()
        session.restart()
    session.end()


def by_number(setup, options):
    """The number of the inotify: found out in a first run."""
    session = begin(setup, "option")
    number = next(entry.name for entry in (harness.pathlib.Path("/proc") / str(session.process.pid) /
                                           "fd").iterdir()
                  if harness.os.readlink(entry) == "anon_inode:inotify")
    session.end()
    restarts(setup, "option", *options(number))


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
