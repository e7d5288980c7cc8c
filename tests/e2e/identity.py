#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Being the same process again: numbers, clocks, /proc, users and capabilities; the ways that are
closed and what is said of them; what the process that was started shows of the program."""

import ctypes
import os
import re
import select
import signal
import subprocess
import sys
import time

import harness

CLONE_NEWUSER = 0x10000000


def expect(label, got, wanted):
    if got != wanted:
        raise harness.Failure(f"{label}: {got!r} instead of {wanted!r}")


def namespaces_work(setup):
    """Whether the user under test may make user and PID namespaces here."""
    done = subprocess.run(["unshare", "-Urpf", "true"], stdin=subprocess.DEVNULL,
                          capture_output=True, preexec_fn=drop if setup.drops else None)
    return done.returncode == 0


def drop():
    os.setgroups([])
    os.setresgid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
    os.setresuid(harness.USER_ID, harness.USER_ID, harness.USER_ID)


def is_root():
    return os.geteuid() == 0


class Facts:
    """What same_process has printed at its end."""

    def __init__(self, output):
        self.text = output.decode(errors="replace")
        self.of = {}
        for line in self.text.splitlines():
            found = re.match(r"(\w+) (.*) \| (.*)$", line)
            if found:
                self.of[found[1]] = found[2], found[3]
        if "child" not in self.of:
            raise harness.Failure(f"it says only {self.text!r}")

    def same(self, *names):
        for name in names:
            before, after = self.of[name]
            if before != after:
                raise harness.Failure(f"{name}: {after} instead of {before}")

    def clocks_go_on(self, seconds):
        """They have moved by what the program has seen of time, and not by what has passed."""
        for name in ("monotonic", "boottime"):
            before, after = map(int, self.of[name])
            if not 0 <= after - before < seconds * 1e9:
                raise harness.Failure(f"{name}: moved by {(after - before) / 1e9} s; of {seconds}")
        for delta in map(int, self.of["vdso"]):
            if not 0 <= delta < 50e6:
                raise harness.Failure(f"vDSO and system call are {delta} ns apart")


def frozen(setup, *words, name="work", pause=0.0):
    session = harness.Session(setup, name)
    session.start(session.victim("same_process", *words))
    session.checkpoint()
    time.sleep(pause)
    return session


def facts_of(session, status=0, stderr=""):
    session.stop()
    got = session.process.wait()
    expect("status", got, status)
    said = session.process.stderr()
    if not re.fullmatch(stderr, said):
        raise harness.Failure(f"stderr: {said!r}")
    facts = Facts(session.process.out.all())
    session.go_on()
    return facts


# --- the ways ----------------------------------------------------------------------------------


def best_way(setup):
    if not is_root() or setup.drops:
        if not namespaces_work(setup):
            raise harness.Skip("no user namespaces here")
    session = frozen(setup, pause=3.0)
    session.restart()
    time.sleep(0.3)
    facts = facts_of(session)
    facts.same("pid", "tid", "program", "who", "child")
    facts.clocks_go_on(2.8)
    if facts.of["self"][1] not in (facts.of["pid"][1], session_outer(facts)):
        raise harness.Failure(f"/proc/self is {facts.of['self'][1]}")


def session_outer(facts):
    return facts.of["self"][0]


def namespace(setup):
    if not namespaces_work(setup):
        raise harness.Skip("no user namespaces here")
    session = frozen(setup, pause=2.0)
    session.restart("--identity=namespace")
    facts = facts_of(session)
    facts.same("pid", "tid", "program", "who", "child", "self")
    facts.clocks_go_on(1.8)
    expect("its parent", facts.of["parent"][1], "1")


def fresh(setup):
    session = frozen(setup)
    for words, env in ((["--identity=new"], None), ([], {"CKPT_IDENTITY": "new"})):
        process = session.restart(*words, env=env)
        facts = facts_of(session)
        expect("number", facts.of["pid"][1], str(process.pid))
        facts.same("who", "child")


def keep(setup):
    session = frozen(setup)
    if setup.drops or not is_root():
        session.refused("--identity=keep", "number [0-9]+", "root", "--identity=", options=["--identity=keep"])
        return
    session.restart("--identity=keep")
    facts_of(session).same("pid", "tid", "self", "program", "who")


def taken(setup):
    """The number is another's."""
    if setup.drops or not is_root():
        raise harness.Skip("needs root")
    session = frozen(setup)
    first = session.restart()
    session.refused("a number that is taken", "has it", "--identity=",
                    options=["--identity=keep"])
    second = session.setup.start([f"./{session.IMAGE}", "-v"], session.cwd)
    second.wait_armed()
    session.stop()
    for process, said in ((first, ""), (second, ".*number.* again, in a namespace .*has it.*\n")):
        expect("status", process.wait(), 0)
        Facts(process.out.all()).same("pid", "tid")
        if not re.fullmatch(said, process.stderr()):
            raise harness.Failure(f"stderr {process.stderr()!r}")


def take_number(number):
    """A process with that number, which does nothing."""
    wanted = ctypes.c_int(number)
    # struct clone_args: exit_signal is its fifth word, set_tid and set_tid_size the ninth and tenth
    args = (ctypes.c_uint64 * 10)(0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, ctypes.addressof(wanted), 1)
    made = harness.LIBC.syscall(435, args, ctypes.sizeof(args))
    if made == 0:
        harness.LIBC.close_range(0, ~0, 0)
        harness.LIBC.pause()
        os._exit(0)
    expect("the number that was taken", made, number)


def thread_taken(setup):
    """The number of a thread is another's: found before there is a process that lacks it."""
    if setup.drops or not is_root():
        raise harness.Skip("needs root")
    session = harness.Session(setup)
    process = session.start(session.victim("threads_epoll"))
    numbers = [int(name) for name in os.listdir(f"/proc/{process.pid}/task")]
    session.checkpoint()
    other = max(numbers)
    take_number(other)
    try:
        session.refused("the number of a thread", str(other), "thread", "--identity=",
                        options=["--identity=keep"])
        said = f".*number.* again, in a namespace .*{other}, the number of a thread.*\n"
        process = session.restart("-v")
        session.stop()
        expect("status", process.wait(), 0)
        if not re.fullmatch(said, process.stderr()):
            raise harness.Failure(f"stderr {process.stderr()!r}")
    finally:
        os.kill(other, signal.SIGKILL)
        os.waitpid(other, 0)


def words_that_mean_nothing(setup):
    session = frozen(setup)
    session.refused("--identity=old", "means nothing", options=["--identity=old"])
    session.refused("CKPT_IDENTITY=old", "means nothing", env={"CKPT_IDENTITY": "old"})


def enter_closed_namespace():
    """In a user namespace of its own in which no further one may be made: the machine's is left
    alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        os._exit(harness.SKIPPED)
    with open("/proc/self/setgroups", "w") as file:
        file.write("deny")
    for which in ("uid_map", "gid_map"):
        with open(f"/proc/self/{which}", "w") as file:
            file.write(f"{harness.USER_ID} {harness.USER_ID} 1\n")
    with open("/proc/sys/user/max_user_namespaces", "w") as file:
        file.write("0\n")


def namespaces_off(setup):
    if not namespaces_work(setup):
        raise harness.Skip("no user namespaces here")
    session = frozen(setup)

    def enter():
        if os.geteuid() == 0:
            drop()
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: /proc/self is its own again
        enter_closed_namespace()
        # Ordinary again: what the namespace gives is given up at the exec.

    if is_root() and not setup.drops:
        raise harness.Skip("for an ordinary user")
    session.stop()
    run = lambda *words: subprocess.run(  # noqa: E731
        [f"./{session.IMAGE}", *words], cwd=session.cwd, preexec_fn=enter,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, env=setup.environment())
    done = run()
    if done.returncode == harness.SKIPPED:
        raise harness.Skip("no user namespace for the test itself")
    expect("status", (done.returncode, done.stderr), (0, b""))
    facts = Facts(done.stdout)
    if facts.of["pid"][0] == facts.of["pid"][1]:
        raise harness.Failure("it has its number although namespaces are off")
    done = run("-v")
    harness.expect_line("--verbose", done.stderr.decode(), "max_user_namespaces", "goes on as")
    done = run("--identity=namespace")
    harness.expect_refusal("--identity=namespace", done.returncode, done.stdout.decode(),
                           done.stderr.decode(), "max_user_namespaces", "--identity=new")


def other_groups(setup):
    """What a namespace would change is not changed unless asked for."""
    if not is_root():
        raise harness.Skip("setgroups needs root")
    if not setup.drops:
        raise harness.Skip("for an ordinary user")
    session = frozen(setup)
    session.stop()

    def more():
        os.setgroups([harness.USER_ID, 4242])
        os.setresgid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
        os.setresuid(harness.USER_ID, harness.USER_ID, harness.USER_ID)

    done = subprocess.run([f"./{session.IMAGE}", "-v"], cwd=session.cwd, preexec_fn=more,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          env=setup.environment())
    expect("status", done.returncode, 0)
    harness.expect_line("-v", done.stderr.decode(), "supplementary groups", "goes on as")


# --- users -------------------------------------------------------------------------------------


def dropped_user(setup):
    """A program that root started and that has become somebody else does not come back as root."""
    if setup.drops or not is_root():
        raise harness.Skip("needs root")
    for words in ([], ["--identity=new"], ["--identity=namespace"]):
        session = harness.Session(setup)
        os.chmod(session.cwd, 0o777)
        session.start(session.victim("same_process", "drop"))
        session.checkpoint()
        session.restart(*words)
        facts = facts_of(session)
        facts.same("who")
        if "Uid:,65534,65534,65534,65534" not in facts.of["who"][1]:
            raise harness.Failure(f"who: {facts.of['who'][1]}")
        # And once more from the program that has been restarted.
        session.restart(*words)
        session.checkpoint()
        session.restart(*words)
        facts_of(session).same("who")


def root_image_by_user(setup):
    """What root was, an ordinary user does not become."""
    if setup.drops or not is_root():
        raise harness.Skip("needs root")
    session = frozen(setup)
    os.chmod(session.cwd, 0o777)
    os.chmod(session.image, 0o755)
    session.stop()
    for words in ([], ["--identity=new"]):
        done = subprocess.run([f"./{session.IMAGE}", *words], cwd=session.cwd, preexec_fn=drop,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                              env=setup.environment())
        expect("status", (done.returncode, done.stderr), (0, b""))
        who = Facts(done.stdout).of["who"][1]
        if "Uid:,65534,65534,65534,65534" not in who or "CapPrm:,0000000000000000" not in who:
            raise harness.Failure(f"who: {who}")


# --- what the process that was started shows ------------------------------------------------------


def endings(setup):
    for way in ("", "--identity=namespace", "--identity=new"):
        if way == "--identity=namespace" and not namespaces_work(setup):
            continue
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV, signal.SIGRTMIN + 1):
            session = frozen(setup, f"die={int(number)}")
            session.restart(*([way] if way else []))
            facts_of(session, -int(number))
        session = frozen(setup, "end=42")
        session.restart(*([way] if way else []))
        facts_of(session, 42)
    if any(name.startswith("core") for name in os.listdir(session.cwd)):
        raise harness.Failure("two cores")


def signals_arrive(setup):
    session = frozen(setup, "listen")
    process = session.restart()
    wanted = b""
    numbers = [signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2,
               signal.SIGALRM, signal.SIGTERM, signal.SIGWINCH, signal.SIGCONT]
    for number in numbers:
        process.signal(number)
        wanted += b"signal %d -1\n" % number
        process.wait_output(wanted)
    # A group is told once.
    for number in numbers:
        os.killpg(process.pid, number)
        wanted += b"signal %d -1\n" % number
        process.wait_output(wanted)
    libc = ctypes.CDLL(None, use_errno=True)
    for value in range(40, 90):
        libc.sigqueue(process.pid, int(signal.SIGRTMIN) + 3, ctypes.c_void_p(value))
        wanted += b"signal %d %d\n" % (int(signal.SIGRTMIN) + 3, value)
    process.wait_output(wanted)
    time.sleep(0.05)
    expect("signals", process.out.seen(), wanted)
    facts_of(session)


def storm(setup):
    """Group or not, under load: each signal that can be counted arrives once."""
    session = frozen(setup, "listen")
    process = session.restart()
    count = 300
    for _ in range(count):
        os.killpg(process.pid, signal.SIGRTMIN + 3)
    line = b"signal %d -1\n" % (int(signal.SIGRTMIN) + 3)
    process.wait_until(lambda: process.out.seen().count(line) >= count, "all signals")
    time.sleep(0.1)
    expect("signals", process.out.seen().count(line), count)
    facts_of(session)


def trigger_passes(setup):
    """The trigger sent to the process that was started freezes the program behind it, many times."""
    session = frozen(setup)
    for _ in range(5):
        session.restart()
        session.checkpoint()
    session.restart()
    facts_of(session).same("child", "who")


def stop_and_continue(setup):
    session = frozen(setup, "listen")
    process = session.restart()
    program = process.program()
    for number in (signal.SIGSTOP, signal.SIGTTIN):
        os.kill(program, number)
        wait_state(process, process.pid, "T")
        _, status = os.waitpid(process.pid, os.WUNTRACED | os.WNOHANG)
        expect("stop signal", os.WSTOPSIG(status), int(number))
        process.signal(signal.SIGCONT)
        wait_state(process, program, "SR")
    os.killpg(process.pid, signal.SIGSTOP)
    wait_state(process, program, "T")
    os.killpg(process.pid, signal.SIGCONT)
    wait_state(process, program, "SR")
    facts_of(session)


def wait_state(process, pid, states):
    process.wait_until(
        lambda: (re.search(r"^State:\s*(\w)", harness.read_proc(pid, "status"), re.M) or " ?")[1]
        in states, f"{pid} in one of the states {states}")


def killed(setup):
    """Who kills the process that was started, kills the program."""
    ways = [""] + (["--identity=namespace"] if namespaces_work(setup) else [])
    for way in ways:
        session = frozen(setup)
        process = session.restart(*([way] if way else []))
        program = process.program()
        watched = os.pidfd_open(program)
        process.signal(signal.SIGKILL)
        if not select.select([watched], [], [], 1)[0]:
            raise harness.Failure(f"{way}: the program lives on a second later")
        os.close(watched)
        expect("status", process.wait(), -signal.SIGKILL)
        # And the other way round: whoever kills the guardian.
        process = session.restart(*([way] if way else []))
        if process.program() == process.pid:
            continue
        watched = os.pidfd_open(process.program())
        os.kill(harness.children_of(process.pid)[0], signal.SIGKILL)
        expect("status", process.wait(5), -signal.SIGKILL)
        if not select.select([watched], [], [], 1)[0]:
            raise harness.Failure(f"{way}: the program lives on without its guardian")
        os.close(watched)


def pipes_end(setup):
    """Nobody but the program holds its standard descriptors."""
    session = frozen(setup, "listen")
    process = session.restart()
    program = process.program()
    held = process.setup.strays()
    pipes = {os.readlink(f"/proc/{program}/fd/{n}") for n in (0, 1, 2)}
    others = harness.children_of(process.pid) + [process.pid] + held
    for pid in set(others) - {program}:
        try:
            for name in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{name}")
                if target in pipes:
                    raise harness.Failure(f"process {pid} holds {target}")
        except (PermissionError, FileNotFoundError):
            pass
    os.kill(program, signal.SIGKILL)
    expect("status", process.wait(), -signal.SIGKILL)
    process.out.all(1)


def copies(setup):
    """Fifty of one image at once, each right in itself."""
    session = frozen(setup, pause=1.0)
    started = [session.setup.start([f"./{session.IMAGE}"], session.cwd) for _ in range(50)]
    for process in started:
        process.wait_armed()
    time.sleep(0.2)
    session.stop()
    kept = 0
    for process in started:
        expect("status", process.wait(), 0)
        facts = Facts(process.out.all())
        facts.same("who", "child")
        kept += facts.of["pid"][0] == facts.of["pid"][1]
        expect("stderr", process.stderr(), "")
    able = is_root() and not setup.drops or namespaces_work(setup)
    if able and kept != 50:
        raise harness.Failure(f"only {kept} of 50 have their number")


def damaged(setup):
    """A failure while memory is loaded is still one line and 125."""
    session = frozen(setup)
    data = bytearray(session.image.read_bytes())
    middle = len(data) // 2
    data[middle:middle + 64] = bytes(b ^ 0x55 for b in data[middle:middle + 64])
    session.image.write_bytes(data)
    session.refused("a damaged image", "checksum|damaged")


def body(setup):
    cases = [(case.__name__, lambda case=case: case(setup)) for case in (
        best_way, namespace, fresh, keep, taken, thread_taken, words_that_mean_nothing,
        namespaces_off, other_groups, dropped_user, root_image_by_user, endings, signals_arrive, storm,
        trigger_passes, stop_and_continue, killed, pipes_end, copies, damaged)]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
