#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Descriptors and files over a restart: what they must be again, and what happens to a file that has
changed since: grown files are kept, anything that would lose data is refused by name, and the user
may say otherwise."""

import errno
import fcntl
import os
import signal
import sys

import harness

WRITER = """
f = os.open("data.txt", os.O_RDWR | os.O_CREAT | os.O_TRUNC{extra}, 0o644)
for i in range(100): os.write(f, b"first %03d\\n" % i)
ready()
wait()
for i in range(10): os.write(f, b"second %03d\\n" % i)
os.write(1, b"ok\\n")
"""
FIRST = b"".join(b"first %03d\n" % i for i in range(100))
SECOND = b"".join(b"second %03d\n" % i for i in range(10))


def written(setup, extra=""):
    """A program that has written half of a file, in its image."""
    session = harness.Session(setup)
    session.start(session.script(WRITER.format(extra=extra)))
    session.checkpoint()
    session.data = session.cwd / "data.txt"
    return session


def expect_content(session, label, wanted):
    fault = harness.difference(label, wanted, session.data.read_bytes())
    if fault:
        raise harness.Failure(fault)


def add(session, what):
    with open(session.data, "ab") as file:
        file.write(what)


def unchanged(setup):
    session = written(setup)
    session.restart()
    session.end()
    expect_content(session, "data.txt", FIRST + SECOND)
    if list(session.cwd.glob("*.after-ckpt")):
        raise harness.Failure("an .after-ckpt file, and nothing was cut")


def grown(setup):
    session = written(setup)
    add(session, b"z" * 500)
    session.restart()
    session.end()
    # At its saved offset it writes over what was added, and leaves the rest.
    expect_content(session, "grown", FIRST + SECOND + b"z" * (500 - len(SECOND)))


def grown_append(setup):
    session = written(setup, " | os.O_APPEND")
    add(session, b"z" * 50)
    session.restart()
    session.end()
    expect_content(session, "grown, O_APPEND", FIRST + b"z" * 50 + SECOND)


def grown_rewind(setup, extra=""):
    session = written(setup, extra)
    add(session, b"z" * 500)
    session.restart("--files=rewind")
    session.end()
    expect_content(session, "rewound", FIRST + SECOND)
    kept = session.cwd / "data.txt.after-ckpt"
    if not kept.exists() or kept.read_bytes() != b"z" * 500:
        raise harness.Failure(f"the tail is not in {kept.name}: {os.listdir(session.cwd)}")


def changed(setup, label, change, after_keep=None):
    """Refused by name with nothing changed; --files=keep and CKPT_FILES=keep override."""
    for way in ({"options": ("--files=keep",)}, {"env": {"CKPT_FILES": "keep"}}):
        session = written(setup)
        change(session.data)
        before = {path.name: path.read_bytes() for path in session.cwd.iterdir()}
        session.refused(label, "data.txt", "--files=keep")
        session.refused(label + " (ckpt-restart)", "data.txt", via=setup.restart)
        now = {path.name: path.read_bytes() for path in session.cwd.iterdir()}
        if before != now:
            raise harness.Failure(f"{label}: the refused restart has changed the directory")
        session.output = b"ready\n"
        session.restart(*way.get("options", ()), env=way.get("env"))
        session.end()
        if after_keep is not None:
            expect_content(session, label + ", kept", after_keep)


def shrink(path):
    os.truncate(path, 100)


def replace(path):
    """Another file under the same name, as editors leave one, of the same length."""
    other = path.with_name("other")
    other.write_bytes(b"x" * len(FIRST))
    os.chmod(other, 0o666)
    os.rename(other, path)


def several(setup):
    """One line, though three files are gone."""
    session = harness.Session(setup)
    session.start(session.script("""
held = [open("file-%d" % i, "w") for i in range(3)]
ready()
wait()
"""))
    session.checkpoint()
    for i in range(3):
        (session.cwd / f"file-{i}").unlink()
    session.refused("three files vanished", "file-0")


def deleted(setup):
    session = harness.Session(setup)
    session.start(session.script("""
import tempfile
f = tempfile.TemporaryFile(dir=".")
f.write(bytes(range(256)) * 400); f.flush(); f.seek(1000)
g = os.open("gone", os.O_RDWR | os.O_CREAT, 0o640); os.write(g, b"hole"); os.lseek(g, 1 << 20, 0)
os.write(g, b"end"); os.lseek(g, 2, 0); os.unlink("gone")
h = os.dup(g)
ready()
wait()
assert f.read(256) == (bytes(range(256)) * 2)[1000 % 256:1000 % 256 + 256], "its offset"
f.seek(0)
assert f.read() == bytes(range(256)) * 400, "its contents"
assert os.fstat(f.fileno()).st_nlink == 0, "its links"
f.seek(0, 2); f.write(b"more"); f.flush()
assert os.fstat(f.fileno()).st_size == 102404, "it grows"
assert os.lseek(h, 0, 1) == 2, "a shared offset"
assert os.read(g, 2) == b"le"
assert os.lseek(h, 0, 1) == 4, "an offset that is shared still"
assert os.fstat(g).st_size == (1 << 20) + 3 and os.pread(g, 9, 1 << 20) == b"end"
assert os.fstat(g).st_mode & 0o777 == 0o640, oct(os.fstat(g).st_mode)
assert not os.path.exists("gone")
os.write(1, b"ok\\n")
"""))
    for _ in range(3):
        session.checkpoint()
        names = {"image.ckpt", "script.py"}
        if set(os.listdir(session.cwd)) != names:
            raise harness.Failure(f"files in the directory: {os.listdir(session.cwd)}")
        session.restart()
    session.end()


def shared_and_flags(setup):
    session = harness.Session(setup)
    (session.cwd / "read-only").write_bytes(b"r" * 100)
    os.chmod(session.cwd / "read-only", 0o444)
    session.start(session.script("""
a = os.open("a", os.O_RDWR | os.O_CREAT, 0o644)
os.write(a, b"0123456789")
b = os.dup(a)
c = os.open("a", os.O_RDWR)
os.dup2(a, 77, inheritable=True)
os.set_inheritable(b, True); os.set_inheritable(a, False)
r = os.open("read-only", os.O_RDONLY); os.lseek(r, 33, 0)
w = os.open("w", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_SYNC, 0o600)
n = os.open("/dev/null", os.O_RDWR)
z = os.open("/dev/zero", os.O_RDONLY | os.O_NONBLOCK)
u = os.open("/dev/urandom", os.O_RDONLY)
d = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
os.mkdir("sub")
p = os.open("sub", os.O_PATH) if False else os.open("sub", os.O_RDONLY | os.O_DIRECTORY)
q = os.open("/dev/null", os.O_WRONLY); os.dup2(q, 200)
flags = {fd: fcntl.fcntl(fd, fcntl.F_GETFL) for fd in (a, b, c, r, w, n, z, u, d, p, 77, 200)}
close = {fd: fcntl.fcntl(fd, fcntl.F_GETFD) for fd in flags}
table = sorted(os.listdir("/proc/self/fd"))
ready()
wait()
for fd in flags:
    assert fcntl.fcntl(fd, fcntl.F_GETFL) == flags[fd], (fd, oct(flags[fd]), oct(fcntl.fcntl(fd, fcntl.F_GETFL)))
    assert fcntl.fcntl(fd, fcntl.F_GETFD) == close[fd], ("close-on-exec", fd)
assert sorted(os.listdir("/proc/self/fd")) == table, (sorted(os.listdir("/proc/self/fd")), table)
assert os.lseek(a, 0, 1) == 10 and os.lseek(c, 0, 1) == 0, "offsets"
os.write(b, b"ab")
assert os.lseek(a, 0, 1) == 12 and os.lseek(77, 0, 1) == 12 and os.lseek(c, 0, 1) == 0, "groups"
assert os.pread(c, 20, 0) == b"0123456789ab"
assert os.lseek(r, 0, 1) == 33 and len(os.read(r, 1000)) == 67
try: os.write(r, b"x"); raise SystemExit("read-only is writable")
except OSError: pass
os.write(w, b"appended")
assert os.write(n, b"x") == 1 and os.read(n, 1) == b"" and os.read(z, 3) == bytes(3)
assert len(os.read(u, 8)) == 8 and os.write(200, b"x") == 1
assert "script.py" in os.listdir(d) and os.listdir(p) == []
assert os.open("more", os.O_CREAT | os.O_WRONLY) == max(x for x in (p, q)) + 1, "lowest free descriptor"
os.write(1, b"ok\\n")
"""))
    for _ in range(3):
        session.checkpoint()
        session.restart()
    session.end()
    if (session.cwd / "w").read_bytes() != b"appended":
        raise harness.Failure("the file with O_APPEND")


def directory_position(setup):
    """A directory that is being read goes on where it was."""
    session = harness.Session(setup)
    many = session.cwd / "many"
    many.mkdir()
    for i in range(3000):
        (many / f"entry-{i:04d}-{'x' * 40}").touch()
    setup.give(many)
    session.start(session.script("""
it = os.scandir("many")
seen = [next(it).name for _ in range(500)]
ready()
wait()
seen += [entry.name for entry in it]
assert len(seen) == 3000 == len(set(seen)), (len(seen), len(set(seen)))
os.write(1, b"ok\\n")
"""))
    session.checkpoint()
    session.restart()
    session.end()


LOCKS = {
    "flock": "fcntl.flock(f, fcntl.LOCK_EX)",
    "flock, shared": "fcntl.flock(f, fcntl.LOCK_SH)",
    "POSIX lock": "fcntl.lockf(f, fcntl.LOCK_EX, 10, 5)",
}


def try_lock(path, kind):
    """Whether somebody else could have the lock now."""
    with open(path, "r+b") as file:
        try:
            if kind.startswith("flock"):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 4, 7)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise
        return True


def locks(setup, kind):
    session = harness.Session(setup)
    session.start(session.script(f"""
f = open("locked", "w+b"); f.write(b"x" * 100); f.flush()
{LOCKS[kind]}
ready()
wait()
os.write(1, b"ok\\n")
"""))
    locked = session.cwd / "locked"
    if try_lock(locked, kind):
        raise harness.Failure("the test's own lock does not work")
    session.checkpoint()
    if not try_lock(locked, kind):
        raise harness.Failure("still locked, and the program has ended")
    session.restart()
    if try_lock(locked, kind):
        raise harness.Failure(f"{kind}: not held after the restart")
    session.checkpoint()

    # Somebody else has taken it meanwhile.
    with open(locked, "r+b") as file:
        if kind.startswith("flock"):
            fcntl.flock(file, fcntl.LOCK_EX)
        else:
            fcntl.lockf(file, fcntl.LOCK_EX, 4, 7)
        session.refused(f"{kind} held by another", "locked", "lock")
    session.restart()
    session.end()


def continued_locks(setup, kind):
    """Nothing of the checkpoint takes a lock from a program that goes on."""
    session = harness.Session(setup)
    session.start(session.script(f"""
f = open("locked", "w+b"); f.write(b"x" * 100); f.flush()
{LOCKS[kind]}
ready()
wait()
os.write(1, b"ok\\n")
"""), "-c")
    for _ in range(5):
        harness.checkpoint_and_continue(session.process, session.image)
        if try_lock(session.cwd / "locked", kind):
            raise harness.Failure(f"{kind}: lost by a checkpoint with -c")
    session.end()


def output_file(setup):
    """`ckpt prog > out` goes on writing to out, wherever the one who restarts sends his output."""
    session = harness.Session(setup)
    out = os.open(session.cwd / "out", os.O_WRONLY | os.O_CREAT, 0o644)
    setup.give(session.cwd / "out")
    argv = session.script("ready()\nwait()\nos.write(1, b'after\\n')\n")
    process = session.start(argv, ready=False, stdout=out)
    os.close(out)
    process.wait_until(lambda: (session.cwd / "out").read_bytes() == b"ready\n", "output")
    session.checkpoint()
    session.restart()
    session.end(output=b"")
    if (session.cwd / "out").read_bytes() != b"ready\nafter\n":
        raise harness.Failure(f"out has {(session.cwd / 'out').read_bytes()!r}")


def standard_input_file(setup):
    """Standard input from a file is read on from where it was."""
    session = harness.Session(setup)
    (session.cwd / "in").write_bytes(b"0123456789")
    file = os.open(session.cwd / "in", os.O_RDONLY)
    session.start(session.script(
        "assert os.read(0, 4) == b'0123'\nready()\nwait()\nos.write(1, os.read(0, 100) + b'\\n')\n"),
        stdin=file)
    os.close(file)
    session.checkpoint()
    session.restart()
    session.end(output=b"ready\n456789\n")


def broken_pipe(setup):
    """Whoever read the output has gone: the restarted program meets it as any program would."""
    session = harness.Session(setup)
    session.start(session.victim("tick"))
    session.checkpoint()
    read, write = os.pipe()
    os.close(read)
    session.stop()
    process = session.restart(armed=False, stdout=write)
    os.close(write)
    if process.wait() != -signal.SIGPIPE:
        raise harness.Failure(f"status {process.status} instead of SIGPIPE")


def terminal(setup):
    """Standard streams that were a terminal are those of the one who restarts."""
    session = harness.Session(setup)
    argv = session.script("""
import signal
assert all(os.isatty(fd) for fd in (0, 1, 2))
tty = os.dup(1)
ready()
wait()
assert not os.isatty(1), "a terminal"
os.write(1, b"ok\\n")
""")
    master, slave = os.openpty()
    process = session.start(argv, ready=False, stdin=slave, stdout=slave, stderr=slave)
    if os.read(master, 100) != b"ready\r\n":
        raise harness.Failure("the program does not start on a terminal")
    process.wait_armed()
    try:
        session.checkpoint()
    except harness.Failure as failure:
        os.set_blocking(master, False)
        try:
            text = os.read(master, 10000)
        except BlockingIOError:
            text = b""
        raise harness.Failure(f"{failure}\nthe terminal shows {text!r}") from None
    os.close(slave)
    os.close(master)
    session.restart()
    session.end(output=b"ok\n")


def bad_value(setup):
    session = written(setup)
    session.refused("a policy that is none", "--files|destroy", options=("--files=destroy",))
    session.refused("an unknown option", "frobnicate", options=("--frobnicate",))


def body(setup):
    harness.run_cases(setup, [
        ("unchanged", lambda: unchanged(setup)),
        ("grown", lambda: grown(setup)),
        ("grown, O_APPEND", lambda: grown_append(setup)),
        ("grown, rewind", lambda: grown_rewind(setup)),
        ("grown, rewind, O_APPEND", lambda: grown_rewind(setup, " | os.O_APPEND")),
        ("shrunk", lambda: changed(setup, "shrunk", shrink)),
        ("replaced", lambda: changed(setup, "replaced", replace, b"x" * len(FIRST) + SECOND)),
        ("vanished", lambda: changed(setup, "vanished", os.unlink)),
        ("several vanished", lambda: several(setup)),
        ("deleted but open", lambda: deleted(setup)),
        ("shared offsets, flags, kinds", lambda: shared_and_flags(setup)),
        ("a directory being read", lambda: directory_position(setup)),
        *((kind, lambda kind=kind: locks(setup, kind)) for kind in LOCKS),
        *((kind + ", -c", lambda kind=kind: continued_locks(setup, kind)) for kind in LOCKS),
        ("output to a file", lambda: output_file(setup)),
        ("input from a file", lambda: standard_input_file(setup)),
        ("a broken pipe", lambda: broken_pipe(setup)),
        ("a terminal", lambda: terminal(setup)),
        ("a bad value", lambda: bad_value(setup)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
