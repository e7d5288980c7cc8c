#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Files that are mapped shared, over a restart: what the program wrote through the mapping is in the
file again, what has become of the file meanwhile is kept beside it, and nothing is touched before it
is known that the program can go on. Databases that live by such mappings go on as well."""

import mmap
import os
import subprocess
import sys

import harness

SIZE = 300000
PROGRAM = """
import mmap
fd = os.open("data.bin", os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
os.fchmod(fd, 0o666)
os.write(fd, bytes(i * 7 % 251 for i in range({size})))
memory = mmap.mmap(fd, {mapped}, offset={offset})
{more}
memory[5:10] = b"early"
ready()
wait()
if bytes(memory[5:10]) != {wanted}: os.write(1, b"lost: %r\\n" % bytes(memory[5:10]))
memory[100:104] = b"late"
os.write(1, b"ok\\n")
"""
SAVED = bytearray(i * 7 % 251 for i in range(SIZE))


def begin(setup, mapped=SIZE, offset=0, more="os.close(fd)", wanted=b"early"):
    session = harness.Session(setup)
    session.start(session.script(PROGRAM.format(size=SIZE, mapped=mapped, offset=offset, more=more,
                                                wanted=wanted)))
    session.checkpoint()
    session.data = session.cwd / "data.bin"
    return session


def expected(late=True):
    content = bytearray(SAVED)
    content[5:10] = b"early"
    if late:
        content[100:104] = b"late"
    return bytes(content)


def expect(label, path, wanted):
    fault = harness.difference(f"{label}: {path.name}", bytes(wanted), path.read_bytes())
    if fault:
        raise harness.Failure(fault)


def expect_beside(session, label, *wanted):
    kept = sorted(session.cwd.glob("*.after-ckpt*"))
    if [path.read_bytes() for path in kept] != [bytes(each) for each in wanted]:
        raise harness.Failure(f"{label}: {[path.name for path in kept]} beside the file")


def overwrite(session, at, what):
    with open(session.data, "r+b") as file:
        file.seek(at)
        file.write(what)
    return session.data.read_bytes()


def unchanged(setup):
    session = begin(setup)
    session.restart()
    session.end()
    expect("unchanged", session.data, expected())
    expect_beside(session, "unchanged")


def changed(setup, more="os.close(fd)"):
    session = begin(setup, more=more)
    first = overwrite(session, 0, b"z" * 5000)
    session.restart()
    session.end()
    expect("changed", session.data, expected())
    expect_beside(session, "changed", first)
    # The image is as good as before: once more, and what the first restart wrote is kept as well.
    session.go_on()
    session.output = b"ready\n"
    session.restart()
    session.end()
    expect("changed twice", session.data, expected())
    expect_beside(session, "changed twice", first, expected())


def changed_in_a_hole(setup):
    """What was zero is zero again."""
    session = begin(setup, more="os.ftruncate(fd, 0); os.ftruncate(fd, %d)" % SIZE)
    overwrite(session, 200000, b"not zero")
    session.restart()
    session.end()
    wanted = bytearray(SIZE)
    wanted[5:10], wanted[100:104] = b"early", b"late"
    expect("changed in a hole", session.data, wanted)


def outside_the_mapping(setup):
    """Only what the program saw is its memory."""
    session = begin(setup, mapped=65536)
    overwrite(session, 200000, b"not mine")
    session.restart()
    session.end()
    wanted = bytearray(expected())
    wanted[200000:200008] = b"not mine"
    expect("outside the mapping", session.data, wanted)
    expect_beside(session, "outside the mapping")


def kept(setup):
    session = begin(setup, wanted=b"other")
    overwrite(session, 5, b"other")
    session.restart("--files=keep")
    session.end()
    wanted = bytearray(expected())
    wanted[5:10] = b"other"
    expect("kept", session.data, wanted)
    expect_beside(session, "kept")


def vanished(setup):
    session = begin(setup)
    mode = session.data.stat().st_mode
    session.data.unlink()
    session.restart()
    session.end()
    expect("vanished", session.data, expected())
    if session.data.stat().st_mode != mode:
        raise harness.Failure(f"mode {session.data.stat().st_mode:o} instead of {mode:o}")


def grown(setup, option, length):
    session = begin(setup)
    before = overwrite(session, SIZE, b"more")
    session.restart(*option)
    session.end()
    expect("grown", session.data, (expected() + b"more")[:length])
    expect_beside(session, "grown", *([before] if option else []))


def shrunk(setup):
    session = begin(setup)
    os.truncate(session.data, 50)
    short = session.data.read_bytes()
    session.restart()
    session.end()
    expect("shrunk", session.data, expected())
    expect_beside(session, "shrunk", short)


def refused(setup, label, change, *words, options=(), **how):
    """One line, and nothing is touched."""
    session = begin(setup, **how)
    change(session)
    def look():
        return {path.name: path.is_file() and path.read_bytes() for path in session.cwd.iterdir()
                if path.name != "keep-out"}
    before = look()
    try:
        session.refused(label, "data.bin", *words, options=options)
        if look() != before:
            raise harness.Failure(f"{label}: the refused restart has changed the directory")
    finally:
        os.chmod(session.cwd, 0o777)


def by_another(session):
    other = session.cwd / "other"
    other.write_bytes(b"x" * SIZE)
    os.chmod(other, 0o666)
    os.utime(other, (1, 1))
    other.rename(session.data)


def by_a_directory(session):
    session.data.unlink()
    session.data.mkdir()


def closed_directory(session):
    overwrite(session, 0, b"z" * 10)
    os.chmod(session.cwd, 0o555)


def read_only(session):
    overwrite(session, 0, b"z" * 10)
    os.chmod(session.data, 0o444)


def damage(session):
    """A byte of the program's memory in the image: found last of all."""
    overwrite(session, 0, b"z" * 10)
    size = session.image.stat().st_size
    with open(session.image, "r+b") as image:
        image.seek(size // 2)
        byte = image.read(1)
        image.seek(size // 2)
        image.write(bytes([byte[0] ^ 1]))


def damaged_image(setup):
    session = begin(setup)
    damage(session)
    before = session.data.read_bytes()
    session.refused("damaged image", "damaged")
    expect("damaged image", session.data, before)
    expect_beside(session, "damaged image")


def full_disk(setup):
    """There is no room to keep what would be lost, so nothing is."""
    if os.geteuid() != 0 or setup.options.user != "root":
        raise harness.Skip("needs root, for a small file system")
    session = harness.Session(setup)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k,mode=777", "none", session.cwd],
                      capture_output=True).returncode != 0:
        raise harness.Skip("cannot mount a small file system")
    try:
        session.cwd = session.cwd
        argv = session.script(PROGRAM.format(size=SIZE, mapped=SIZE, offset=0, more="os.close(fd)",
                                             wanted=b"early"))
        outside = setup.directory("images")
        session.image = outside / "image.ckpt"
        session.launch([setup.ckpt, "-n", session.image, *argv])
        session.checkpoint()
        session.data = session.cwd / "data.bin"
        before = overwrite(session, 0, b"z" * 5000)
        process = setup.start([session.image], session.cwd)
        harness.expect_refusal("full disk", process.wait(), process.out.all().decode(),
                               process.stderr(), "data.bin", "No space|space")
        expect("full disk", session.data, before)
        expect_beside(session, "full disk")
    finally:
        subprocess.run(["umount", "-l", session.cwd], check=True)


def mapped_elsewhere(setup):
    """Memory that another process has mapped would be two memories after a restart."""
    session = harness.Session(setup)
    process = session.start(session.script("""
import mmap
fd = os.memfd_create("both")
os.ftruncate(fd, 8192)
memory = mmap.mmap(fd, 8192)
memory[0:4] = b"mine"
os.write(1, b"fd %d\\n" % fd)
ready()
wait()
os.write(1, b"ok\\n" if memory[0:4] == b"mine" else b"lost\\n")
"""))
    number = int(process.out.seen().split()[1])
    with open(f"/proc/{process.pid}/fd/{number}", "r+b") as file:
        memory = mmap.mmap(file.fileno(), 8192)
        assert memory[0:4] == b"mine"
        process.signal(harness.TRIGGER)
        process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a line that says why")
        said = process.err.seen().decode()
        harness.expect_line("mapped elsewhere", said, "/memfd:both", "another process")
        memory.close()
    process.signal(harness.TRIGGER)
    if process.wait() != 0:
        raise harness.Failure(f"no checkpoint: {process.stderr()}")


WAL = """
import sqlite3
db = sqlite3.connect("data.db", isolation_level=None)
db.execute("pragma journal_mode=wal")
db.execute("create table if not exists t(n integer)")
for i in range(200): db.execute("insert into t values(?)", (i,))
db.execute("begin")
db.execute("insert into t values(1000)")
ready()
wait()
db.execute("commit")
for i in range(200): db.execute("insert into t values(?)", (i,))
n = db.execute("select count(*) from t").fetchone()[0]
good = db.execute("pragma integrity_check").fetchone()[0]
os.write(1, b"ok\\n" if (n, good) == (401, "ok") else b"lost: %d %s\\n" % (n, good.encode()))
"""


def sqlite(setup, reader):
    """Write-ahead logging: a -shm file mapped by all, and POSIX locks on it."""
    session = harness.Session(setup)
    session.start(session.script(WAL))
    session.checkpoint()
    if reader:   # with the last connection gone, the log and its index go too
        look = subprocess.run([sys.executable, "-c", "import sqlite3; print(sqlite3.connect("
                               "'file:data.db?mode=ro', uri=True).execute("
                               "'select count(*) from t').fetchone()[0])"],
                              cwd=session.cwd, capture_output=True, text=True)
        if look.stdout != "200\n":
            raise harness.Failure(f"another reader: {look}")
    session.restart()
    session.end()


def body(setup):
    cases = [
        ("unchanged", lambda: unchanged(setup)),
        ("changed", lambda: changed(setup)),
        ("changed, open as well", lambda: changed(setup, "")),
        ("changed in a hole", lambda: changed_in_a_hole(setup)),
        ("changed outside the mapping", lambda: outside_the_mapping(setup)),
        ("changed, keep", lambda: kept(setup)),
        ("vanished", lambda: vanished(setup)),
        ("grown", lambda: grown(setup, (), SIZE + 4)),
        ("grown, rewind", lambda: grown(setup, ("--files=rewind",), SIZE)),
        ("shrunk", lambda: shrunk(setup)),
        ("replaced by another", lambda: refused(setup, "replaced", by_another, "replaced")),
        ("replaced by a directory", lambda: refused(setup, "directory", by_a_directory, "replaced")),
        ("vanished, mapped in part", lambda: refused(
            setup, "vanished", lambda s: s.data.unlink(), "vanished", mapped=65536)),
        ("vanished, keep", lambda: refused(
            setup, "vanished", lambda s: s.data.unlink(), "vanished", options=("--files=keep",))),
        ("shrunk, keep", lambda: refused(
            setup, "shrunk", lambda s: os.truncate(s.data, 50), "too short",
            options=("--files=keep",))),
        ("a damaged image", lambda: damaged_image(setup)),
        ("a full disk", lambda: full_disk(setup)),
        ("mapped by another process", lambda: mapped_elsewhere(setup)),
        ("sqlite, write-ahead log", lambda: sqlite(setup, False)),
        ("sqlite, looked at meanwhile", lambda: sqlite(setup, True)),
    ]
    if setup.options.user != "root":
        cases += [
            ("read-only now", lambda: refused(setup, "read-only", read_only, "ermission")),
            ("a closed directory", lambda: refused(setup, "closed", closed_directory, "ermission")),
        ]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
