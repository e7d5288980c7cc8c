#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What docs/SECURITY.md promises: images are private, names that another user has prepared in a shared
directory lead nowhere, nobody gains rights by a checkpoint or a restart, and what a program keeps from
everybody does not reach the disk."""

import ctypes
import errno
import os
import pathlib
import shutil
import signal
import stat
import subprocess
import sys

import harness

HEADERS = pathlib.Path(__file__).resolve().parents[2] / "include"
OTHER = 65533       # somebody else, who may write into the same directory
SECRET = b"the-secret-that-nobody-may-read-"


def require(so, why):
    if not so:
        raise harness.Failure(why)


def modes(setup):
    """0700 and the user's own, whatever the umask."""
    for mask in (0, 0o077, 0o777):
        session = harness.Session(setup)
        before = os.umask(mask)
        try:
            session.start(session.victim("tick", "1"))
        finally:
            os.umask(before)
        session.checkpoint()        # looks at the mode
        owner = session.image.stat().st_uid
        require(owner == (harness.USER_ID if setup.drops else os.geteuid()), f"owner {owner}")
        session.stop()
        session.restart(armed=False)
        session.end()


class Shared:
    """A directory like /tmp, in which somebody else has prepared a name that leads to what the user under
    test can write and would miss."""

    def __init__(self, setup, name):
        self.setup = setup
        self.cwd = setup.directory("shared")
        self.keep = setup.directory("home") / "precious"
        self.keep.write_bytes(SECRET * 100)
        setup.give(self.keep)
        self.before = harness.identity(self.keep)
        self.name = self.cwd / name
        if os.geteuid() == 0:
            os.chown(self.cwd, 0, 0)
            os.chmod(self.cwd, 0o1777)
        self.child = None

    def plant(self, kind):
        if kind == "link":
            self.name.symlink_to(self.keep)
        elif kind == "hard link":
            os.link(self.keep, self.name)
        elif kind == "link to nothing":
            self.name.symlink_to(self.keep.with_name("new"))
        elif kind == "pipe":
            os.mkfifo(self.name, 0o666)
            os.chmod(self.name, 0o666)
        elif kind == "directory":
            self.name.mkdir(0o777)
        elif kind == "file":
            self.name.write_bytes(b"x")
            os.chmod(self.name, 0o666)
        if os.geteuid() == 0 and kind != "hard link":
            os.chown(self.name, OTHER, OTHER, follow_symlinks=False)

    def check(self, label):
        require(harness.identity(self.keep) == self.before and
                self.keep.read_bytes() == SECRET * 100, f"{label}: the user's own file has changed")
        require(not self.keep.with_name("new").exists(), f"{label}: a file where the link led")


KINDS = ("link", "link to nothing", "hard link", "pipe", "directory", "file")


def planted_image(setup, name, kind):
    """At a checkpoint: an image of the user's own, or one line; the program goes on in either case."""
    shared = Shared(setup, name)
    shared.plant(kind)
    program = setup.victim("tick", setup.directory("work"))
    process = setup.start([setup.ckpt, "-c", "-n", "image.ckpt", program, "stop", "1"], shared.cwd)
    process.wait_output(b"ready\n")
    process.signal(harness.TRIGGER)
    image = shared.cwd / "image.ckpt"

    def done():
        return process.err.seen().endswith(b"\n") or \
            image.is_file() and not image.is_symlink() and image.stat().st_size > 100_000
    process.wait_until(done, "an image or a line")
    # The program ends when this appears; only its owner's directory has it.
    (shared.cwd / "stop").touch()
    require(process.wait() == 0, f"the program: {process.status}")
    text = process.stderr()
    label = f"{kind} at {name}"
    shared.check(label)
    if text:
        harness.expect_line(label, text)
    else:
        found = image.lstat()
        require(stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == 0o700 and
                found.st_uid == (harness.USER_ID if setup.drops else os.geteuid()),
                f"{label}: the image is {stat.filemode(found.st_mode)} of {found.st_uid}")
        done = subprocess.run([setup.readckpt, image], capture_output=True, timeout=60, check=False)
        require(done.returncode == 0, f"{label}: {done.stderr!r}")


def planted_lock(setup, kind):
    """The lock of --resume is a file that is cut to nothing and written."""
    shared = Shared(setup, ".image.ckpt.ckpt-lock")
    shared.plant(kind)
    label = f"{kind} as the lock"
    status, out, err = setup.run([setup.ckpt, "--resume", "-n", "image.ckpt", "/bin/echo", "ran"],
                                 shared.cwd)
    shared.check(label)
    if status == harness.REFUSED:
        harness.expect_refusal(label, status, out, err, "cannot lock")
    else:
        require((status, out, err) == (0, "ran\n", ""), f"{label}: {status} {out!r} {err!r}")
        require(kind == "file", f"{label}: it was taken")


def planted_log(setup, kind):
    shared = Shared(setup, "log")
    if kind == "hard link":
        return      # the user's own file, to which he may add a line
    shared.plant(kind)
    status, _, _ = setup.run(["/bin/sh", "-c", "exec 2>&-; exec \"$@\"", "sh", setup.ckpt, "-z", "x",
                              "/bin/true"], shared.cwd, env={"CKPT_LOG": str(shared.cwd / "log"),
                                                             "CKPT_ASYNCSIG": "nonsense"})
    require(status in (0, harness.REFUSED), f"status {status}")
    shared.check(f"{kind} as CKPT_LOG")


PROGRAM = """
#include <stdio.h>
#include <unistd.h>
#include <ckpt.h>
int main(void) {
  int got = ckpt_ckpt("asked.ckpt");
  printf("%d %d %d\\n", got, (int)getuid(), (int)geteuid());
  fflush(stdout);
  for (;;) pause();
}
"""


def set_user_id_program(setup):
    """Linked with -lckpt and set-user-ID: neither variables nor signals nor the program itself make it write
    anything with rights that who started it has not."""
    if not setup.drops:
        raise harness.Skip("needs root, and another user")
    if not shutil.which("cc"):
        raise harness.Skip("no C compiler")
    cwd, target = setup.directory("privileged"), setup.directory("target")
    os.chown(target, 0, 0)
    (cwd / "program.c").write_text(PROGRAM)
    prefix = pathlib.Path(setup.options.bin).resolve()
    program = cwd / "program"
    done = subprocess.run(["cc", "-static", "-I", HEADERS, cwd / "program.c", "-o", program,
                           "-L", prefix / "lib", "-lckpt"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise harness.Skip(f"cannot link: {done.stderr[-300:]}")
    os.chown(program, 0, 0)
    os.chmod(program, 0o4755)
    process = setup.start([program], cwd, env={"CKPT_NAME": str(target / "stolen"), "CKPT_LOG":
                                               str(target / "log"), "CKPT_ASYNCSIG": "USR2",
                                               "CKPT_MSPERIOD": "20", "CKPT_VERBOSE": "1"})
    process.wait_output(b"\n")
    if process.out.seen().split()[2] != b"0":
        raise harness.Skip("set-user-ID has no effect here")
    require(process.out.seen() == b"-1 65534 0\n", f"ckpt_ckpt in it: {process.out.seen()!r}")
    require(not process.catches(signal.SIGUSR2) and not process.catches(harness.TRIGGER),
            "it handles the trigger")
    require(not list(target.iterdir()), f"it wrote {list(target.iterdir())}")
    require(not list(cwd.glob("*.ckpt*")), f"it wrote {list(cwd.iterdir())}")
    process.kill()
    status, out, err = setup.run([setup.ckpt, program], cwd)
    harness.expect_refusal("ckpt PROGRAM", status, out, err, "set-user-ID")


def set_user_id_image(setup):
    """Of an image with the set-user-ID bit: not even its own restarter runs with its owner's rights."""
    if not setup.drops:
        raise harness.Skip("needs root, and another user")
    session = harness.Session(setup)
    session.start(session.victim("tick", "1"))
    session.checkpoint()
    session.stop()
    for mode, group in ((0o4755, harness.USER_ID), (0o2755, 0)):
        os.chown(session.image, 0, group)
        os.chmod(session.image, mode)
        session.refused(f"mode {mode:o}", "set-user-ID")
    os.chmod(session.image, 0o755)
    session.restart(armed=False)
    session.end()


TRY = """
ready()
wait()
try: found = open(%r).read()
except OSError as error: found = type(error).__name__
os.write(1, found.encode() + b"\\n")
"""


def root_image(setup):
    """Root's image, which root has given away, gives nobody root's rights: it is refused, or its program is
    root in a namespace only, where the files of root are somebody else's."""
    if not setup.drops:
        raise harness.Skip("needs root, and another user")
    mine = setup.scratch / "of-root"
    mine.write_bytes(SECRET)
    os.chmod(mine, 0o600)
    setup.drops = False
    try:
        session = harness.Session(setup)
        session.start(session.script(TRY % str(mine)))
        session.checkpoint()
    finally:
        setup.drops = True
    session.stop()
    os.chmod(session.image, 0o755)
    for via, *identity in ((None,), (setup.restart,), (None, "--identity=namespace"),
                           (None, "--identity=new")):
        process = session.restart(*identity, armed=False, via=via)
        status, out, err = process.wait(), process.out.all(), process.stderr()
        if status == 0:
            require(out == b"PermissionError\n", f"root's image, {identity}: {out!r} {err!r}")
        else:
            harness.expect_refusal("root's image", status, out.decode(), err)


# Nothing here may lead out of the test's own directory: as root a name is taken at its word, and an image
# is renamed over what has it.
HOSTILE = (
    {"CKPT_NAME": "."}, {"CKPT_NAME": "missing/name"}, {"CKPT_NAME": "./" * 600 + "x"},
    {"CKPT_NAME": "x" * 5000}, {"CKPT_NAME": "%s%n%x"},
    {"CKPT_NAME": "\x1b[2Jname\n"}, {"CKPT_LOG": "y" * 9000},
    {"CKPT_ASYNCSIG": "9"}, {"CKPT_ASYNCSIG": "-1"}, {"CKPT_ASYNCSIG": "99999999999999999999"},
    {"CKPT_MSPERIOD": "-1"}, {"CKPT_MSPERIOD": "1e9"}, {"CKPT_IGNORE_FD": "4294967296,-1,all,,"},
    {"CKPT_IGNORE_FD": "0," * 3000}, {"CKPT_CONTINUE": "\xff\xfe"}, {"CKPT_VERBOSE": "1" * 4000},
)


def hostile_variables(setup):
    """Whoever inherits them goes on as if nothing had been said, but for a line."""
    for variables in HOSTILE:
        for name in ("CKPT_NAME", "CKPT_LOG"):
            value = variables.get(name, "")
            assert not value.startswith("/") and ".." not in value, "never outside, see above"
        session = harness.Session(setup)
        home = setup.directory("home")
        (home / "file").write_bytes(b"x" * 1000)
        before = harness.identity(home / "file")
        argv = session.victim("tick", "1")
        process = setup.start(argv, session.cwd, env={"LD_PRELOAD": str(setup.library), **variables})
        process.wait_output(b"ready\n")
        if process.catches(harness.TRIGGER):
            process.signal(harness.TRIGGER)     # an image where one may be, or a line
        session.stop()
        status = process.wait()
        label = ", ".join(f"{k}={v[:40]!r}" for k, v in variables.items())
        require(status == 0, f"{label}: status {status}, {process.stderr()!r}")
        for line in process.stderr().splitlines():
            require(line.startswith("ckpt: ") and line.isprintable(), f"{label}: {line!r}")
        require(harness.identity(home / "file") == before and os.listdir(home) == ["file"], label)


LAUNCH = "_CKPT_LAUNCH"


def hostile_launch(setup):
    """The variable by which the command tells the library its options, in somebody else's words."""
    session = harness.Session(setup)
    for text in ("preload=" + "z" * 20000, "\x1f" * 5000, "name=" + "n" * 5000, "=\x1f==\x1fpreload="):
        argv = session.victim("tick", "1")
        session.go_on()
        process = setup.start(argv, session.cwd, env={LAUNCH: text, "LD_PRELOAD": str(setup.library),
                                                      "LAST": "it"})
        process.wait_output(b"ready\n")
        session.stop()
        require(process.wait() == 0, f"{text[:20]!r}: status {process.status}, {process.stderr()!r}")


SECRETMEM = """
import ctypes, mmap
libc = ctypes.CDLL(None, use_errno=True)
fd = libc.syscall(447, 0)
if fd < 0:
    os.write(1, b"none\\n")
    os._exit(0)
os.ftruncate(fd, 4096)
at = mmap.mmap(fd, 4096)
at[:32] = bytes(c ^ 1 for c in %r)
for i in range(32): at[i] = at[i] ^ 1
if %r: os.close(fd)
ready()
wait()
os.write(1, b"ok\\n")
"""


def secret_memory(setup):
    """memfd_secret(2): no image, and not a byte of it anywhere."""
    masked = bytes(c ^ 1 for c in SECRET)
    for closed in (False, True):
        session = harness.Session(setup)
        text = SECRETMEM.replace("bytes(c ^ 1 for c in %r)", "%r") % (masked, closed)
        session.start(session.script(text), "-c", ready=False)
        session.process.wait_output(b"\n")
        if session.process.out.seen() == b"none\n":
            raise harness.Skip("no memfd_secret(2) here (secretmem.enable)")
        session.process.signal(harness.TRIGGER)
        session.process.wait_until(lambda: session.process.err.seen().endswith(b"\n"), "a line")
        session.stop()
        require(session.process.wait() == 0, f"the program: {session.process.status}")
        harness.expect_line("memfd_secret", session.process.stderr(), "secret")
        for path in session.cwd.rglob("*"):
            require(not path.is_file() or SECRET not in path.read_bytes(), f"{path} has the secret")


def body(setup):
    cases = [("mode and owner", lambda: modes(setup))]
    for name in ("image.ckpt", ".image.ckpt.ckpt-partial"):
        cases += [(f"{kind} waits as {name}", lambda n=name, k=kind: planted_image(setup, n, k))
                  for kind in KINDS]
    cases += [(f"{kind} waits as the lock", lambda k=kind: planted_lock(setup, k)) for kind in KINDS]
    cases += [(f"{kind} waits as CKPT_LOG", lambda k=kind: planted_log(setup, k)) for kind in KINDS]
    cases += [("a set-user-ID program with -lckpt", lambda: set_user_id_program(setup)),
              ("an image with the set-user-ID bit", lambda: set_user_id_image(setup)),
              ("root's image", lambda: root_image(setup)),
              ("variables from somebody else", lambda: hostile_variables(setup)),
              ("the command's variable from somebody else", lambda: hostile_launch(setup)),
              ("secret memory", lambda: secret_memory(setup))]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
