#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Images that go elsewhere, of programs that go on: the program does not stand still while its image is
carried, and the image is of one moment all the same, whatever the program does meanwhile. A carrier of
the test's own stands in for ckpt-transfer and takes nothing before the program has got somewhere."""

import os
import signal
import sys
import time

import harness

# What it is given goes into the image, once the file `gate` is there. The descriptor and the letter are
# those of frontends/agent/transfer.hpp.
CARRIER = """#!/usr/bin/python3 -IS
import os, sys, time
with open("begun.part", "w") as to: to.write(str(os.getpid()))
os.rename("begun.part", "begun")
while not os.path.exists("gate"): time.sleep(0.002)
with open("image.part", "wb") as to:
    while piece := os.read(0, 1 << 20):
        to.write(piece)
os.chmod("image.part", 0o700)
os.rename("image.part", "image.ckpt")
os.write(3, b"R")
"""

# One number everywhere: private memory, near and far; shared memory; a memory file; a deleted file; a file
# that is mapped and written; memory that no fork has. Each round writes all, then compares all.
EVERYWHERE = """
import mmap, struct
PRIVATE, SHARED, MIB = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, 1 << 20
near, far = mmap.mmap(-1, 32 * MIB, flags=PRIVATE), mmap.mmap(-1, MIB, flags=PRIVATE)
block = os.urandom(MIB)
for i in range(32): near[i * MIB:(i + 1) * MIB] = block
shared = mmap.mmap(-1, MIB, flags=SHARED)
memory = os.memfd_create("number")
os.write(memory, bytes(8192))
mapped_memory = mmap.mmap(memory, 8192)
deleted = os.open("deleted", os.O_RDWR | os.O_CREAT, 0o600)
os.write(deleted, bytes(8192))
os.unlink("deleted")
maps = [near, far, shared, mapped_memory]
files = [memory, deleted]
{more}
def number(file):
    return struct.unpack("Q", os.pread(file, 8, 0))[0]
n = 0
ready()
while not os.path.exists("stop"):
    n += 1
    text = struct.pack("Q", n)
    for area in maps:
        area[:8] = text
    page = n * 4096 % (32 * MIB) or 4096
    near[page:page + 8] = text
    for file in files:
        os.pwrite(file, text, 0)
    seen = [struct.unpack("Q", area[:8])[0] for area in maps] + [number(file) for file in files]
    if seen != [n] * len(seen):
        print("lost", n, seen)
        sys.exit(1)
    if n % 64 == 0:
        with open("count.part", "w") as to: to.write(str(n))
        os.rename("count.part", "count")
print("ok")
"""
LEFT_OUT = """
outside = mmap.mmap(-1, MIB, flags=PRIVATE)
outside.madvise(mmap.MADV_DONTFORK)
maps.append(outside)
"""
WRITTEN = """
written = os.open("written", os.O_RDWR | os.O_CREAT, 0o600)
os.write(written, bytes(8192))
maps_of_it = mmap.mmap(written, 8192, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
class view:  # from a restart on it is memory, and shows the moment of the image
    stuck = None
    def __getitem__(self, where):
        now = maps_of_it[where]
        if self.stuck is None and struct.unpack("Q", now)[0] == n - 1: self.stuck = now
        return struct.pack("Q", n) if now == self.stuck else now
    def __setitem__(self, where, text): os.pwrite(written, text, 0)
maps.append(view())
"""


class Carried:
    """A program whose images the carrier takes."""

    def __init__(self, setup, script, *options, **environment):
        self.setup = setup
        self.session = session = harness.Session(setup)
        self.cwd = session.cwd
        carrier = self.cwd / "carrier"
        carrier.write_text(CARRIER)
        carrier.chmod(0o755)
        self.environment = {"CKPT_TRANSFER": str(carrier), **environment}
        self.process = session.launch([setup.ckpt, "-n", "exec:carrier", "-c", *options,
                                       *session.script(script)], env=self.environment)
        self.process.wait_armed()

    def ask(self):
        """Returns when the carrier has begun, which then waits."""
        for name in ("begun", "gate"):
            (self.cwd / name).unlink(missing_ok=True)
        self.process.signal(harness.TRIGGER)
        self.process.wait_until((self.cwd / "begun").exists, "the carrier's beginning")

    def count(self):
        path = self.cwd / "count"
        return int(path.read_text()) if path.exists() else 0

    def goes_on(self):
        """While nobody takes the image."""
        before = self.count()
        self.process.wait_until(lambda: self.count() > before, "the program to go on")

    def let_through(self):
        """Returns when the image is there and the carrier has ended."""
        carrier = int((self.cwd / "begun").read_text())
        (self.cwd / "gate").touch()
        end = time.monotonic() + 60
        while not self.session.image.exists() or os.path.exists(f"/proc/{carrier}"):
            if time.monotonic() > end:
                raise harness.Failure(f"no image: {harness.describe(carrier)}")
            time.sleep(0.002)
        harness.check_image(self.setup, self.session.image)

    def end(self):
        self.session.end()
        self.setup.check_nothing_left()

    def restart(self):
        """The image, to its end."""
        (self.cwd / "stop").unlink(missing_ok=True)
        process = self.setup.start([f"./{self.session.IMAGE}", "--files=keep"], self.cwd, env=self.environment)
        time.sleep(self.setup.random.uniform(0, 0.05))
        self.session.stop()
        status, out, err = process.wait(), process.out.all(), process.stderr()
        if (status, out, err) != (0, b"ok\n", ""):
            raise harness.Failure(f"restarted: status {status}, {out!r}, {err!r}")


def snapshots(carried):
    """Processes that are copies of the program."""
    return [pid for pid in carried.setup.strays() if harness.read_proc(pid, "comm") == "ckpt-snapshot\n"]


def one_moment(setup, more, copied):
    carried = Carried(setup, EVERYWHERE.replace("{more}", more))
    for _ in range(3):
        time.sleep(setup.random.uniform(0, 0.1))
        carried.ask()
        if copied:
            carried.goes_on()
            carried.process.wait_until(lambda: len(snapshots(carried)) == 1, "the copy")
        carried.let_through()
        saved = carried.session.image.rename(carried.cwd / "kept")
        carried.goes_on()
        saved.rename(carried.session.image)
    carried.end()
    for _ in range(2):
        carried.restart()


def killed(setup):
    """The program dies before anybody has taken its image: that is there all the same."""
    carried = Carried(setup, EVERYWHERE.replace("{more}", ""))
    carried.ask()
    carried.goes_on()
    os.kill(carried.process.pid, signal.SIGKILL)
    if carried.process.wait(5) != -signal.SIGKILL:
        raise harness.Failure(f"killed, and its end is {carried.process.status}")
    carried.process.out.all()  # its end is heard at once, although the copy waits
    carried.let_through()
    carried.restart()


def unseen(setup):
    """The copy is no child of the program, holds none of its locks, and is the first to go when memory
    runs out."""
    carried = Carried(setup, """
import errno, fcntl, signal
children = []
signal.signal(signal.SIGCHLD, lambda *_: children.append(1))
held = open("lock", "w")
fcntl.lockf(held, fcntl.LOCK_EX)
other = open("flock", "w")
fcntl.flock(other, fcntl.LOCK_EX)
ready()
n = 0
while not os.path.exists("stop"):
    n += 1
    try:
        os.waitpid(-1, os.WNOHANG | 0x40000000)  # __WALL
        print("a child")
    except ChildProcessError:
        pass
    with open("count.part", "w") as to: to.write(str(n))
    os.rename("count.part", "count")
    time.sleep(0.002)
    if os.path.exists("let go") and not held.closed:
        held.close()
        other.close()
        open("gone", "w").close()
print("ok" if not children else "children")
""")
    carried.ask()
    carried.goes_on()
    def first_to_go():
        return [pid for pid in snapshots(carried) if harness.read_proc(pid, "oom_score_adj") == "1000\n"]
    carried.process.wait_until(first_to_go, "a copy that is the first to go")
    (carried.cwd / "let go").touch()
    carried.process.wait_until((carried.cwd / "gone").exists, "the locks to be given back")
    status, out, err = setup.run(["/usr/bin/python3", "-c", """
import fcntl
fcntl.lockf(open("lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.flock(open("flock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
"""], carried.cwd)
    if status != 0:
        raise harness.Failure(f"the copy holds a lock: {out}{err}")
    carried.let_through()
    carried.end()


def copy_killed(setup):
    """The copy dies while it is written out: one line says so, and nothing arrives. The real ckpt-transfer,
    begun late."""
    session = harness.Session(setup)
    late = session.cwd / "late"
    late.write_text(f"#!/bin/sh\ntouch begun\nwhile [ ! -e gate ]; do sleep 0.01; done\n"
                    f'exec {setup.prefix}/bin/ckpt-transfer "$@"\n')
    late.chmod(0o755)
    argv = session.script("block = os.urandom(8 << 20)\nready()\nwait()\nprint('ok')\n")
    process = setup.start([setup.ckpt, "-n", "exec:cat > part && mv part image.ckpt", "-c", *argv], session.cwd,
                          env={"CKPT_TRANSFER": str(late)})
    session.process = process
    process.wait_output(b"ready\n")
    process.signal(harness.TRIGGER)
    found = []
    process.wait_until(lambda: found or found.extend(
        pid for pid in setup.strays() if harness.read_proc(pid, "comm") == "ckpt-snapshot\n"), "the copy")
    os.kill(found[0], signal.SIGKILL)
    process.wait_until(lambda: not os.path.exists(f"/proc/{found[0]}"), "the end of the copy")
    (session.cwd / "gate").touch()
    session.stop()
    status, out, err = process.wait(), process.out.all(), process.stderr()
    if (status, out) != (0, b"ready\nok\n") or session.image.exists() or err.count("\n") != 1 or \
            "ckpt: cannot send the image to exec:cat > part && mv part image.ckpt: what comes is no whole image" not in err:
        raise harness.Failure(f"status {status}, {out!r}, {err!r}")


def one_at_a_time(setup):
    """The next image waits for the one that is under way: a period's is left out, with a line."""
    carried = Carried(setup, EVERYWHERE.replace("{more}", ""))
    carried.ask()
    carried.process.signal(harness.TRIGGER)
    carried.goes_on()
    carried.let_through()
    carried.session.stop()
    status, out, err = carried.process.wait(), carried.process.out.all(), carried.process.stderr()
    if status != 0 or not out.endswith(b"ok\n") or "is still on its way" not in err or err.count("\n") != 1:
        raise harness.Failure(f"status {status}, {out!r}, {err!r}")


def under_limits(setup):
    """What the program keeps itself to is not for ckpt-transfer, which carries more than that."""
    session = harness.Session(setup)
    argv = session.script("""
import resource
block = os.urandom(4 << 20)
for which, soft in ((resource.RLIMIT_FSIZE, 1 << 20), (resource.RLIMIT_STACK, 0)):
    resource.setrlimit(which, (soft, resource.getrlimit(which)[1]))
ready()
wait()
print("ok")
""")
    session.process = setup.start([setup.ckpt, "-n", "exec:cat > part && chmod 700 part && mv part image.ckpt",
                                   "-c", *argv], session.cwd)
    session.process.wait_output(b"ready\n")
    session.process.signal(harness.TRIGGER)
    session.process.wait_until(session.image.exists, "the image")
    harness.check_image(setup, session.image)
    session.end()
    setup.check_nothing_left()


def body(setup):
    harness.run_cases(setup, [
        ("one moment", lambda: one_moment(setup, "", True)),
        ("one moment, with memory that no fork has", lambda: one_moment(setup, LEFT_OUT, False)),
        ("one moment, with a file that is mapped and written", lambda: one_moment(setup, WRITTEN, False)),
        ("the program is killed", lambda: killed(setup)),
        ("the copy is killed", lambda: copy_killed(setup)),
        ("unseen", lambda: unseen(setup)),
        ("one at a time", lambda: one_at_a_time(setup)),
        ("under limits", lambda: under_limits(setup)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
