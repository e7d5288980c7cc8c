# SPDX-License-Identifier: MIT
"""What every end-to-end test needs: processes that are watched, scratch directories for either
user, checkpoints and restarts with all that must hold after each, and seeds that a failure prints.

Nothing here waits without a bound: a hang is a failure, and it is reported with what the kernel
knows about the process that hangs.
"""

import argparse
import atexit
import contextlib
import ctypes
import os
import pathlib
import random
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time

SKIPPED = 77        # ctest's SKIP_RETURN_CODE
REFUSED = 125       # ckpt, ckpt-restart or an image could not do its own work
USER_ID = 65534     # the ordinary user that root drops to
TRIGGER = signal.SIGTSTP


class Failure(Exception):
    """The test has found something wrong."""


class Skip(Exception):
    """The test has nothing to run on here; the text says why."""


class Ended(Exception):
    """The program ended before its checkpoint: the attempt does not count."""


# ---------------------------------------------------------------------------------------------
# processes


def world_usable(path):
    """Whether any user can reach `path`: each directory above it lets others through."""
    path = pathlib.Path(path).resolve()
    for parent in path.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            return False
    mode = path.stat().st_mode
    return bool(mode & stat.S_IROTH) and (not path.is_dir() or bool(mode & stat.S_IXOTH))


def read_proc(pid, name):
    try:
        return pathlib.Path(f"/proc/{pid}/{name}").read_text(errors="replace")
    except OSError as error:
        return f"({error.strerror})"


def children_of(pid):
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:     # it has ended
        return []
    return [int(word) for task in tasks
            for word in read_proc(pid, f"task/{task}/children").split() if word.isdigit()]


def directory_of(pid):
    """Where a process works: of one whose first thread has ended, where another thread does."""
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/cwd")
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError):
                return os.readlink(f"/proc/{pid}/task/{task}/cwd")
    return ""


def processor_time(pid):
    """What a process and its children have had of the processors, in clock ticks."""
    fields = read_proc(pid, "stat").rpartition(")")[2].split()
    own = int(fields[11]) + int(fields[12]) if len(fields) > 12 else 0
    return own + sum(map(processor_time, children_of(pid)))


def program_behind(pid):
    """The program, when `pid` is the stand-in of a restarted one; otherwise `pid` itself."""
    for child in children_of(pid):
        if read_proc(child, "comm") == "ckpt-guardian\n":
            # Whatever else the guardian has was orphaned later.
            for program in children_of(child)[:1]:
                return program
    return pid


def describe(pid):
    """What the kernel says about a process, for the report of a hang."""
    status = read_proc(pid, "status")
    wanted = re.compile(r"^(Name|State|Tgid|Pid|PPid|TracerPid|Uid|Threads|NSpid|Sig|Shd)")
    lines = [f"  /proc/{pid}/status:"]
    lines += ["    " + line for line in status.splitlines() if wanted.match(line)]
    for name in ("wchan", "syscall", "stack", "cmdline"):
        text = read_proc(pid, name).replace("\0", " ").strip()
        lines.append(f"  /proc/{pid}/{name}: " + text.replace("\n", " | "))
    for child in children_of(pid):
        lines.append(f"  child {child}:")
        lines += ["  " + line for line in describe(child).splitlines()]
    return "\n".join(lines)


class Reader:
    """The reading end of a pipe, emptied by a thread so that no writer ever has to wait for us."""

    def __init__(self):
        self._read, self.write = os.pipe()
        self._data = bytearray()
        self._changed = threading.Condition()
        self._closed = False
        self.closed_at = None   # time.monotonic_ns() at the end of file
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        os.close(self.write)
        self._thread.start()

    def _run(self):
        while True:
            try:
                piece = os.read(self._read, 65536)
            except OSError:
                piece = b""
            with self._changed:
                self._data += piece
                self._closed = not piece
                if not piece:
                    self.closed_at = time.monotonic_ns()
                self._changed.notify_all()
            if not piece:
                os.close(self._read)
                return

    def seen(self):
        with self._changed:
            return bytes(self._data)

    def wait_for(self, wanted, seconds):
        """Waits until `wanted` has been read. False when the writers are gone or time is over."""
        end = time.monotonic() + seconds
        with self._changed:
            while wanted not in self._data:
                left = end - time.monotonic()
                if self._closed or left <= 0:
                    return False
                self._changed.wait(left)
            return True

    def all(self, seconds=10):
        """Everything, once the last writer has closed its end; a writer that stays is a failure."""
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise Failure("the program has ended, but somebody still holds its output pipe open; "
                          f"so far: {self.seen()[-500:]!r}")
        return self.seen()


class Process:
    """One process under test: started, watched by pidfd, reaped with its resource usage."""

    def __init__(self, setup, argv, cwd, stdin=None, stdout=None, stderr=None, env=None,
                 timeout=60):
        self.setup = setup
        self.argv = [str(word) for word in argv]
        self.timeout = timeout
        self.status = None
        self.usage = None
        self.out = self.err = None
        if stdout is None:
            self.out = Reader()
        if stderr is None:
            self.err = Reader()
        identity = {}
        if setup.drops:
            identity = dict(user=USER_ID, group=USER_ID, extra_groups=[])
        try:
            self._popen = subprocess.Popen(
                self.argv, cwd=cwd, env=setup.environment(env),
                stdin=subprocess.DEVNULL if stdin is None else stdin,
                stdout=self.out.write if self.out else stdout,
                stderr=self.err.write if self.err else stderr,
                # A group of its own in our session: job control stops apply to it, so that a
                # trigger that nobody takes is seen as a stopped process and not as nothing.
                process_group=0, **identity)
        finally:
            for reader in (self.out, self.err):
                if reader:
                    reader.start()
        self.pid = self._popen.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._poll = select.poll()
        self._poll.register(self._pidfd, select.POLLIN)
        setup.processes.append(self)

    def program(self):
        """The number, out here, of the program itself: a restarted one may have a stand-in."""
        return program_behind(self.pid)

    def work(self):
        """CPU seconds of the process and what it has started, or None once it has ended."""
        def clock(pid):
            # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED): nanoseconds, where stat has ticks.
            return time.clock_gettime((~pid << 3) | 2)
        try:
            total = clock(self.pid)
        except OSError:
            return None
        program = self.program()
        for child in children_of(program) + ([program] if program != self.pid else []):
            try:
                total += clock(child)
            except OSError:
                pass
        return total

    def ended(self, seconds=0.0):
        """Whether the process has ended, waiting at most `seconds` for it."""
        if self.status is not None:
            return True
        if not self._poll.poll(max(0, seconds) * 1000):
            return False
        _, status, self.usage = os.wait4(self.pid, 0)
        self.status = os.waitstatus_to_exitcode(status)
        self._popen.returncode = self.status
        os.close(self._pidfd)
        return True

    def wait(self, seconds=None):
        """The status (negative: the signal that ended it); a hang is a failure. Who is still at work
        on a machine that gives it little has not hung."""
        limit = self.timeout if seconds is None else seconds
        for _ in range(6):
            if self.ended(limit):
                return self.status
            before = processor_time(self.pid)
            if self.ended(1):
                return self.status
            if processor_time(self.pid) == before:
                break
        raise Failure(self.hang("has not ended"))

    def hang(self, what):
        stderr = self.err.seen()[-2000:].decode(errors="replace") if self.err else ""
        report = f"{' '.join(self.argv)} (PID {self.pid}) {what}\n{describe(self.pid)}\n"
        for pid in self.setup.strays():
            if pid != self.pid:
                report += f"  also there:\n{describe(pid)}\n"
        return report + f"  its stderr: {stderr!r}"

    def signal(self, number):
        if not self.ended():
            os.kill(self.pid, number)

    def catches(self, number):
        """Whether the process has a handler for the signal now: the agent is there (again)."""
        found = re.search(r"^SigCgt:\s*([0-9a-f]+)", read_proc(self.program(), "status"), re.M)
        return bool(found) and bool(int(found[1], 16) >> (number - 1) & 1)

    def wait_until(self, condition, what, seconds=20):
        end = time.monotonic() + seconds
        while not condition():
            if self.ended(0.002):
                raise Failure(f"ended with {self.status} before {what}; stderr: {self.stderr()!r}")
            if time.monotonic() > end:
                raise Failure(self.hang(f"waited in vain for: {what}"))

    def wait_armed(self, number=TRIGGER):
        self.wait_until(lambda: self.catches(number), f"it handles {signal.Signals(number).name}")

    def wait_output(self, wanted, seconds=20):
        if not self.out.wait_for(wanted, seconds):
            if self.ended(0.5):
                raise Failure(f"ended with {self.status} without printing {wanted!r}; "
                              f"stdout {self.out.seen()[-300:]!r}, stderr {self.stderr()!r}")
            raise Failure(self.hang(f"does not print {wanted!r}; it printed "
                                    f"{self.out.seen()[-300:]!r}"))

    def stderr(self):
        return self.err.all().decode(errors="replace") if self.err else ""

    def kill(self):
        if self.status is None:
            # The program first: its stand-in ends when it has ended.
            program = self.program()
            if program != self.pid:
                kill_quietly(program)
                self.ended(2)
            for pid in children_of(self.pid):
                kill_quietly(pid)
            kill_quietly(self.pid)
            self.ended(10)


def kill_quietly(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass


# ---------------------------------------------------------------------------------------------
# where a test runs


class Setup:
    """The binaries, the user, the scratch directory and the random numbers of one test."""

    def __init__(self, options):
        self.options = options
        root = os.geteuid() == 0
        if options.user == "root" and not root:
            raise Skip("not run as root")
        self.drops = options.user == "nobody" and root
        self.processes = []
        self.mounts = []
        base = os.environ.get("CKPT_TEST_TMPDIR") or "/var/tmp"
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ckpt-test-", dir=base)).resolve()
        os.chmod(self.scratch, 0o755)
        atexit.register(self.cleanup)
        self.seed = options.seed
        self.random = random.Random(self.seed)
        self._use_binaries(pathlib.Path(options.bin).resolve())
        self.victims = pathlib.Path(options.victims).resolve() if options.victims else None

    def _use_binaries(self, prefix):
        if not (prefix / "bin/ckpt").exists():
            raise Failure(f"{prefix}/bin/ckpt: not found; give an install prefix with --bin")
        if self.drops and not world_usable(prefix / "bin/ckpt"):
            copy = self.scratch / "stage"
            shutil.copytree(prefix, copy, symlinks=True)
            for path in [copy, *copy.rglob("*")]:
                if not path.is_symlink():
                    os.chmod(path, path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
                    if path.stat().st_mode & 0o100:
                        os.chmod(path, path.stat().st_mode | 0o555)
            prefix = copy
        self.prefix = prefix
        self.ckpt = prefix / "bin/ckpt"
        self.restart = prefix / "bin/ckpt-restart"
        self.readckpt = prefix / "bin/readckpt"
        self.library = next(iter(sorted(prefix.glob("lib*/**/libckpt.so"))),
                            prefix / "lib/libckpt.so")

    def environment(self, more=None):
        keep = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.scratch),
                "LANG": "C.UTF-8", "TZ": "UTC"}
        keep.update(more or {})
        return keep

    def directory(self, name):
        """A fresh directory in which the user under test may write."""
        path = self.scratch / name
        if path.exists():
            shutil.rmtree(path)
        path.mkdir(parents=True)
        self.give(path)
        return path

    def give(self, path):
        """Hands a path, with all below it, to the user under test."""
        if self.drops:
            for each in [path, *pathlib.Path(path).rglob("*")]:
                with contextlib.suppress(FileNotFoundError):   # a program at work may remove it
                    os.chown(each, USER_ID, USER_ID, follow_symlinks=False)

    def victim(self, name, directory):
        """A copy of a test program from tests/victims, where the user under test can run it."""
        if not self.victims or not (self.victims / name).exists():
            raise Failure(f"no program {name} in --victims {self.victims}")
        copy = pathlib.Path(directory) / pathlib.Path(name).name
        shutil.copy(self.victims / name, copy)
        os.chmod(copy, 0o755)
        library = self.victims / (name + ".so")  # one that it opens
        if library.exists():
            shutil.copy(library, directory)
            os.chmod(copy.with_name(library.name), 0o755)
        return copy

    def start(self, argv, cwd, **more):
        return Process(self, argv, cwd, **more)

    def run(self, argv, cwd, timeout=60, **more):
        """Runs a command to its end: (status, stdout, stderr)."""
        process = self.start(argv, cwd, timeout=timeout, **more)
        status = process.wait()
        out = process.out.all() if process.out else b""
        return status, out.decode(errors="replace"), process.stderr()

    def strays(self):
        """Processes that live in the scratch directory: ours, or left behind by ckpt."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit() and directory_of(entry).startswith(str(self.scratch)):
                found.append(int(entry))
        return found

    def check_nothing_left(self):
        """No helper, stand-in or intermediate outlives the program it worked for."""
        end = time.monotonic() + 2
        while True:
            alive = {process.pid for process in self.processes if process.status is None}
            left = [pid for pid in self.strays() if pid not in alive]
            if not left:
                return
            if time.monotonic() > end:
                report = "\n".join(describe(pid) for pid in left)
                raise Failure(f"processes left behind: {left}\n{report}")
            time.sleep(0.02)

    def kill_all(self):
        for process in self.processes:
            process.kill()
        for pid in self.strays():
            kill_quietly(pid)

    def cleanup(self):
        self.kill_all()
        for mounted in self.mounts:
            unmount(mounted)
        if os.environ.get("CKPT_TEST_KEEP"):
            print(f"kept: {self.scratch}")
        else:
            shutil.rmtree(self.scratch, ignore_errors=True)


LIBC = ctypes.CDLL(None, use_errno=True)


def mount_tmpfs(setup, name, size, more=""):
    """A small file system of memory, in a mount namespace of our own: it cannot outlive the test."""
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    clone_newns, ms_rec, ms_private = 0x00020000, 1 << 14, 1 << 18
    where = setup.directory(name)
    data = f"size={size},mode=1777{more}".encode()
    if (LIBC.unshare(clone_newns) != 0 or
            LIBC.mount(None, b"/", None, ms_rec | ms_private, None) != 0 or
            LIBC.mount(b"tmpfs", str(where).encode(), b"tmpfs", 0, data) != 0):
        raise Skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    setup.mounts.append(where)
    return where


def remount(where, read_only):
    ms_rdonly, ms_remount = 1, 32
    flags = ms_remount | (ms_rdonly if read_only else 0)
    if LIBC.mount(b"tmpfs", str(where).encode(), b"tmpfs", flags, None) != 0:
        raise Failure(f"cannot remount {where}: {os.strerror(ctypes.get_errno())}")


def unmount(where):
    mnt_detach = 2
    LIBC.umount2(str(where).encode(), mnt_detach)


# ---------------------------------------------------------------------------------------------
# images


def identity(path):
    """What changes when a file is replaced or rewritten; None when there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def check_image(setup, path):
    """An image under its final name is complete, private, and alone."""
    path = pathlib.Path(path)
    if not path.exists():
        raise Failure(f"{path.name}: no image")
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode != 0o700:
        raise Failure(f"{path.name}: mode {mode:o}, not 700")
    # One command, one descriptor: a listing taken while somebody else writes would be noise.
    for other in os.listdir(path.parent):
        if other != path.name and path.name in other:
            raise Failure(f"{path.parent}: left over beside the image: {other}")
    done = subprocess.run([setup.readckpt, path], stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=60)
    if done.returncode != 0:
        raise Failure(f"readckpt {path.name}: status {done.returncode}: {done.stderr.decode()!r}")


def checkpoint_and_exit(process, image, what="checkpoint", seconds=60, said=""):
    """Triggers a checkpoint and waits for the end; raises Ended when the program was faster."""
    before = identity(image)
    if process.ended():
        raise Ended(process.status)
    process.signal(TRIGGER)
    status = process.wait(seconds)
    if identity(image) == before:
        if not (process.err and process.stderr() != said):
            raise Ended(status)
        raise Failure(f"{what}: no new image; status {status}, stderr: {process.stderr()!r}")
    if status != 0:
        raise Failure(f"{what}: the image is there, but the status is {status} and not 0; "
                      f"stderr: {process.stderr()!r}")
    if process.err:
        text = process.stderr()
        if text != said:
            raise Failure(f"{what}: success is silent, but stderr has: {text!r}")


def checkpoint_and_continue(process, image, what="checkpoint", seconds=60):
    """Triggers a checkpoint of a program that goes on and waits until its image is there."""
    before = identity(image)
    if process.ended():
        raise Ended(process.status)
    process.signal(TRIGGER)
    process.wait_until(lambda: identity(image) != before, f"{what}: a new image", seconds)


def expect_refusal(label, status, stdout, stderr, *words, status_wanted=REFUSED):
    """A refusal: the agreed status and exactly one line that says what is wrong."""
    lines = [line for line in stderr.splitlines() if line]
    if status != status_wanted:
        raise Failure(f"{label}: status {status}, not {status_wanted}; stderr {stderr!r}")
    if stdout:
        raise Failure(f"{label}: stdout has {stdout[:200]!r}")
    expect_line(label, lines, *words)


def expect_line(label, lines, *words):
    """Exactly one line, `ckpt: …`, in which each word (a regular expression) occurs."""
    if isinstance(lines, str):
        lines = [line for line in lines.splitlines() if line]
    if len(lines) != 1:
        raise Failure(f"{label}: {len(lines)} lines on stderr instead of one: {lines!r}")
    if not re.match(r"ckpt(-restart)?: \S", lines[0]):
        raise Failure(f"{label}: the line does not begin with 'ckpt: ': {lines[0]!r}")
    for word in words:
        if not re.search(word, lines[0], re.I):
            raise Failure(f"{label}: nothing like {word!r} in {lines[0]!r}")


# ---------------------------------------------------------------------------------------------
# a program in a directory of its own, step by step

PRELUDE = """
import fcntl, os, sys, time
def ready(): os.write(1, b"ready\\n")
def wait():
    while not os.path.exists("stop"): time.sleep(0.004)
"""


class Session:
    """A small program under test: start, checkpoint, restart, stop; its output is collected."""

    IMAGE = "image.ckpt"

    def __init__(self, setup, name="work"):
        self.setup = setup
        self.cwd = setup.directory(name)
        self.image = self.cwd / self.IMAGE
        self.output = b""
        self.process = None

    def victim(self, name, *words):
        """The argv of a program of tests/victims that ends when the file `stop` appears."""
        return [self.setup.victim(name, self.cwd), "stop", *words]

    def script(self, text):
        """The argv of a Python program that says ready() and then has to wait()."""
        (self.cwd / "script.py").write_text(PRELUDE + text)
        return ["/usr/bin/python3", "-I", "-S", "script.py"]

    def start(self, argv, *options, ready=True, **more):
        self.output = b""
        return self.launch([self.setup.ckpt, "-n", self.IMAGE, *options, *argv], ready, **more)

    def launch(self, argv, ready=True, **more):
        self.process = self.setup.start(argv, self.cwd, **more)
        if ready:
            self.process.wait_output(b"ready\n")
        return self.process

    def checkpoint(self):
        checkpoint_and_exit(self.process, self.image)
        if self.process.out:
            self.output += self.process.out.all()
        check_image(self.setup, self.image)

    def restart(self, *words, armed=True, via=None, **more):
        self.process = self.setup.start([via, self.IMAGE, *words] if via else
                                        [f"./{self.IMAGE}", *words], self.cwd, **more)
        if armed:
            self.process.wait_armed()
        return self.process

    def stop(self):
        (self.cwd / "stop").touch()

    def go_on(self):
        (self.cwd / "stop").unlink(missing_ok=True)

    def end(self, status=0, output=b"ready\nok\n", stderr="", what="the end"):
        """Asks the program to end, and compares all that it has said."""
        self.stop()
        got = self.process.wait()
        if self.process.out:
            self.output += self.process.out.all()
        text = self.process.stderr()
        if got != status or self.output != output or text != stderr:
            raise Failure(f"{what}: status {got} (wanted {status}), stdout {self.output!r} (wanted "
                          f"{output!r}), stderr {text!r} (wanted {stderr!r})")

    def refused(self, label, *words, options=(), via=None, **more):
        """A restart that must not happen."""
        process = self.restart(*options, armed=False, via=via, **more)
        status = process.wait()
        expect_refusal(label, status, process.out.all().decode(errors="replace"),
                       process.stderr(), *words)


# ---------------------------------------------------------------------------------------------
# comparing


def difference(name, wanted, got):
    """Where two byte strings part, or None."""
    if wanted == got:
        return None
    at = next((i for i, (a, b) in enumerate(zip(wanted, got)) if a != b),
              min(len(wanted), len(got)))
    return (f"{name}: {len(got)} bytes instead of {len(wanted)}, first difference at {at}:\n"
            f"  wanted {wanted[max(0, at - 40):at + 40]!r}\n"
            f"  got    {got[max(0, at - 40):at + 40]!r}")


# ---------------------------------------------------------------------------------------------
# the frame of a test script


def reproduction(options):
    words = ["CKPT_SEED=%d" % options.seed, sys.executable, *sys.argv]
    return " ".join(words)


def parser(description):
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--bin", required=True, metavar="DIR", help="install prefix of ckpt")
    made.add_argument("--victims", metavar="DIR", help="where the programs of tests/victims are")
    made.add_argument("--user", choices=("root", "nobody"),
                      default="root" if os.geteuid() == 0 else "nobody")
    made.add_argument("--seed", type=int, default=None)
    return made


def main(made, body):
    """Runs body(setup); the exit status is what ctest wants to see."""
    options = made.parse_args()
    if options.seed is None:
        options.seed = int(os.environ.get("CKPT_SEED") or random.SystemRandom().randrange(1 << 31))
    sys.stdout.reconfigure(line_buffering=True)
    # Whoever ends the test ends what it has started, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        setup = Setup(options)
        body(setup)
    except Skip as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except Failure as failure:
        print(f"FAILED: {failure}")
        print(f"reproduce: {reproduction(options)}")
        return 1
    except Exception:
        import traceback
        traceback.print_exc(file=sys.stdout)
        print(f"reproduce: {reproduction(options)}")
        return 1
    return 0


def run_cases(setup, cases):
    """Runs named cases one after the other; each fails for itself."""
    failed, skipped = [], 0
    only = os.environ.get("CKPT_TEST_ONLY")
    for name, case in cases:
        if only and only not in name:
            continue
        try:
            case()
            setup.check_nothing_left()
            print(f"ok      {name}")
        except Skip as reason:
            skipped += 1
            print(f"skipped {name}: {reason}")
        except Failure as failure:
            failed.append(name)
            print(f"FAILED  {name}: {failure}")
        except Ended as ended:
            failed.append(name)
            print(f"FAILED  {name}: the program ended with {ended} instead of its checkpoint")
        except Exception as error:  # one broken case must not hide the others
            import traceback
            failed.append(name)
            print(f"FAILED  {name}: {error!r}")
            traceback.print_exc(file=sys.stdout)
        finally:
            setup.kill_all()
    if failed:
        raise Failure(f"{len(failed)} of {len(cases)} cases: {', '.join(failed)}")
    if skipped == len(cases):
        raise Skip("no case can run here")
