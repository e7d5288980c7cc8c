#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs that no LD_PRELOAD reaches: they start under ckpt as they start without it, whatever their
surroundings, and are frozen and revived as others are. What goes wrong while the agent is put in ends
with one line; nothing hangs and nothing stays."""

import ctypes
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import harness

ARGUMENTS = ["stop", "", os.fsdecode(b"last \xff\n word"), "3"]
VALUE = {"VICTIM_VALUE": "kept = all"}
# Nothing random in the address space, so that two runs can be compared address by address.
FIXED = ["setarch", "-R"]
PR_SET_CHILD_SUBREAPER = 36
PR_SET_MDWE = 65


def in_python(text, words):
    """Runs statements in the process that becomes the program."""
    return ["/usr/bin/python3", "-I", "-S", "-c",
            f"import ctypes, os, resource, signal, sys\n{text}\nos.execvp(sys.argv[1], sys.argv[1:])",
            *words]


def shell(text, words):
    return ["sh", "-c", text + '; exec "$@"', "sh", *words]


def tool(name):
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        raise harness.Skip(f"{name} is not installed")
    return path


def usable(setup, words):
    """Whether these surroundings can be had here; the words run `true` in them."""
    status, _, err = setup.run([*words, "true"], setup.directory("probe"))
    if status != 0:
        raise harness.Skip(f"{words[0]}: {err.strip()}")


# --- what the program sees ---------------------------------------------------------------------

HUGE = {f"HUGE_{i}": "x" * 100_000 for i in range(10)} | {f"MANY_{i}": "" for i in range(5_000)}

# How the process is made that runs the program, once with ckpt before it and once without.
SURROUNDINGS = {
    "plain": lambda words: words,
    "no standard input": lambda words: shell("exec <&-", words),
    "no descriptors at all": lambda words: shell("exec <&- >&- 2>&-", words),
    "a signal is blocked": lambda words: in_python(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTRAP, signal.SIGUSR1])",
        words),
    "a signal is blocked and pending": lambda words: in_python(
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGUSR1])\n"
        "os.kill(os.getpid(), signal.SIGCHLD)\nos.kill(os.getpid(), signal.SIGUSR1)", words),
    "signals are ignored": lambda words: in_python(
        "for s in (signal.SIGCHLD, signal.SIGTRAP, signal.SIGSEGV, signal.SIGINT): "
        "signal.signal(s, signal.SIG_IGN)", words),
    "it adopts orphans": lambda words: in_python(
        f"ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)", words),
    "three descriptors and a spare one": lambda words: shell("ulimit -n 6", words),
    "no memory both writable and executable": lambda words: in_python(
        f"ctypes.CDLL(None).prctl({PR_SET_MDWE}, 1, 0, 0, 0)", words),
    "a small stack": lambda words: shell("ulimit -s 256", words),
    "an unlimited stack": lambda words: shell("ulimit -s unlimited", words),
    "another umask": lambda words: shell("umask 0123", words),
}


def view(setup, words, env):
    """What first_view reports, which then lies in a file of the directory."""
    cwd = setup.directory("view")
    setup.victim("first_view", cwd)
    process = setup.start([*words, "./first_view", "report", "", "a b"], cwd, env=env)
    status = process.wait()
    output = process.out.all()
    if (status, output, process.stderr()) != (5, b"", ""):
        raise harness.Failure(f"{words}: status {status}, {output!r}, {process.stderr()!r}")
    return (cwd / "report").read_bytes()


def sees_the_same(setup, around, env=None):
    prefix = around([])
    bare = view(setup, [*FIXED, *prefix], env)
    for attempt in range(10):
        under = view(setup, [*FIXED, *prefix, setup.ckpt, "-n", "image.ckpt"], env)
        fault = harness.difference("what the program sees", bare, under)
        if fault:
            raise harness.Failure(fault)


def view_cases(setup):
    for name, around in SURROUNDINGS.items():
        yield f"sees the same: {name}", lambda around=around: sees_the_same(setup, around)
    yield "sees the same: a huge environment", \
        lambda: sees_the_same(setup, SURROUNDINGS["an unlimited stack"], HUGE)
    yield "sees the same: the user's own LD_PRELOAD", \
        lambda: sees_the_same(setup, SURROUNDINGS["plain"],
                              {"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/nowhere", "CKPT_VERBOSE": "0"})


def process_one(setup, *flags):
    """As process 1 of a PID namespace, which inherits the process that put the agent in."""
    inside = ["unshare", *([] if os.geteuid() == 0 and not setup.drops else ["--user", "--map-root-user"]),
              "--pid", "--fork", "--mount-proc", *flags]
    usable(setup, inside)
    for around in ("plain", "a signal is blocked", "a signal is blocked and pending",
                   "signals are ignored"):
        sees_the_same(setup, lambda words: [*inside, *SURROUNDINGS[around](words)])


def starts_a_namespace(setup):
    """The first child would be process 1 of a namespace, and end it."""
    if setup.drops or os.geteuid() != 0:
        raise harness.Skip("unshare needs root")
    cwd = setup.directory("work")
    got = setup.run(["unshare", "--pid", setup.ckpt, setup.victim("first_view", cwd), "r"], cwd)
    harness.expect_refusal("unshare --pid", *got, "first_view", "namespace", "--fork")


# --- freezing ----------------------------------------------------------------------------------

def freezes(setup, victim, around, env=None):
    session = harness.Session(setup)
    program = setup.victim(victim, session.cwd)
    session.output = b""
    session.launch([*around([]), setup.ckpt, "-n", session.IMAGE, program, *ARGUMENTS],
                   env=VALUE | (env or {}))
    for _ in range(2):
        session.process.wait_armed()
        session.checkpoint()
        session.restart()
    session.end()


def freeze_cases(setup):
    victims = ["static_plain", "static_pie", "static_nolibc"]
    victims += [v for v in ("musl_static", "musl_static_pie") if (setup.victims / v).exists()]
    everywhere = {
        "without randomization": lambda words: [*FIXED, *words],
        "with the old layout": lambda words: ["setarch", "-R", "-L", *words],
        "with an unlimited stack": SURROUNDINGS["an unlimited stack"],
        "with a small stack": SURROUNDINGS["a small stack"],
    }
    for name, around in everywhere.items():
        for victim in victims:
            yield f"freezes {name}: {victim}", \
                lambda victim=victim, around=around: freezes(setup, victim, around)
    yield "freezes with a huge environment", \
        lambda: freezes(setup, "static_plain", SURROUNDINGS["an unlimited stack"], HUGE)
    yield "freezes in a user namespace", lambda: in_user_namespace(setup)
    yield "freezes a script of a static interpreter", lambda: static_script(setup)
    yield "freezes under ld.so as a program", lambda: loader_as_program(setup)


def in_user_namespace(setup):
    around = ["unshare", "--user", "--map-root-user"]
    usable(setup, around)
    freezes(setup, "static_plain", lambda words: [*around, *words])


def static_script(setup):
    session = harness.Session(setup)
    script = session.cwd / "script"
    script.write_text(f"#!{tool('busybox')} sh\n"
                      "echo ready\nwhile [ ! -e \"$1\" ]; do n=$((n + 1)); done\necho ok\nexit 6\n")
    os.chmod(script, 0o755)
    session.start(["./script", "stop"])
    session.checkpoint()
    session.restart()
    session.end(6)


def loader_as_program(setup):
    """ld.so has no loader itself; what it loads then has the agent, too."""
    loader = "/lib64/ld-linux-x86-64.so.2"
    if not os.path.exists(loader):
        raise harness.Skip(f"{loader} is not here")
    session = harness.Session(setup)
    session.start([loader, *session.victim("tick")])
    session.checkpoint()
    session.restart()
    session.end()


# --- statuses ----------------------------------------------------------------------------------

def statuses(setup):
    busybox = tool("busybox")
    cwd = setup.directory("work")
    for status in (0, 1, 7, 125, 127, 255):
        got = setup.run([setup.ckpt, busybox, "sh", "-c", f"echo x; exit {status}"], cwd)
        if got != (status, "x\n", ""):
            raise harness.Failure(f"exit {status}: {got}")
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGTRAP, signal.SIGCHLD + 0):
        wanted = 0 if number == signal.SIGCHLD else -number
        got = setup.run([setup.ckpt, busybox, "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"], cwd)
        if got != (wanted, "", ""):
            raise harness.Failure(f"killed by {number!r}: {got}")
    if os.listdir(cwd):
        raise harness.Failure(f"left in the directory: {os.listdir(cwd)}")


def not_to_be_run(setup):
    """A program that the kernel refuses when it is about to start: 126, as from a shell."""
    cwd = setup.directory("work")
    program = setup.victim("static_plain", cwd)
    with open(program, "r+b"):
        got = setup.run([setup.ckpt, program], cwd)
    harness.expect_refusal("a program that is being written", *got, "static_plain", "busy",
                           status_wanted=126)


def several_threads(setup):
    """A Go program starts threads at once."""
    go = tool("go")
    cwd = setup.directory("work")
    (cwd / "main.go").write_text("""package main
import ("fmt"; "os"; "time")
func main() {
	fmt.Println("ready")
	for { if _, e := os.Stat("stop"); e == nil { break }; time.Sleep(time.Millisecond) }
	fmt.Println("ok")
	os.Exit(4)
}
""")
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "GOCACHE": str(cwd / "cache"),
                   "GOFLAGS": "-mod=mod", "GO111MODULE": "off", "CGO_ENABLED": "0"}
    built = subprocess.run([go, "build", "-o", "go_program", "main.go"], cwd=cwd, env=environment,
                           stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if built.returncode != 0:
        raise harness.Skip(f"go build: {built.stderr.strip()}")
    shutil.rmtree(cwd / "cache", ignore_errors=True)
    process = setup.start([setup.ckpt, "-n", "image.ckpt", "./go_program"], cwd)
    process.wait_output(b"ready\n")
    harness.checkpoint_and_exit(process, cwd / "image.ckpt")
    process = setup.start(["./image.ckpt"], cwd)
    process.wait_armed()
    (cwd / "stop").touch()
    status = process.wait()
    if (status, process.out.all(), process.stderr()) != (4, b"ok\n", ""):
        raise harness.Failure(f"a Go program: status {status}, {process.out.all()!r}")


# --- what cannot be --------------------------------------------------------------------------

def refused(setup, label, around, *words, victim="first_view"):
    cwd = setup.directory("work")
    program = setup.victim(victim, cwd)
    got = setup.run([*around([]), setup.ckpt, program, "report"], cwd)
    harness.expect_refusal(label, *got, *words)
    if (cwd / "report").exists():
        raise harness.Failure(f"{label}: the program has run")


def refusals(setup):
    deny = setup.victims / "deny_ptrace"
    copy = setup.directory("tools") / "deny_ptrace"
    shutil.copy(deny, copy)
    refused(setup, "ptrace denied", lambda words: [copy, *words], "ptrace", "not permitted",
            "container", "Yama", "link it dynamically")
    refused(setup, "no descriptor to be had",
            lambda words: in_python("resource.setrlimit(resource.RLIMIT_NOFILE, (4, 4))", words),
            "too many open files")
    if setup.drops:
        refused(setup, "no process to be had",
                lambda words: in_python("resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))", words),
                "cannot start the process", "RLIMIT_NPROC")
    # Enough for 64 MiB of program and a bit, not for the agent beside it.
    refused(setup, "no room for the agent", lambda words: shell("ulimit -v 66900", words),
            "cannot map.*libckpt", "cannot allocate memory", victim="first_view_large")


def unreadable(setup):
    """Executable only: whether it has a loader cannot be seen."""
    if not setup.drops and os.geteuid() == 0:
        raise harness.Skip("root may read everything")
    cwd = setup.directory("work")
    program = setup.victim("first_view", cwd)
    os.chmod(program, 0o111)
    got = setup.run([setup.ckpt, program, "report"], cwd)
    harness.expect_refusal("unreadable", *got, "first_view", "cannot be read", "chmod")


def two_users(setup):
    """With two users at once execve(2) sets AT_SECURE."""
    if setup.drops or os.geteuid() != 0:
        raise harness.Skip("needs root")
    cwd = setup.directory("work")
    got = setup.run([*in_python("os.setresuid(65534, 0, 0)", []), setup.ckpt, "/bin/true"], cwd)
    harness.expect_refusal("two users", *got, "real and the effective", "LD_PRELOAD")


def other_loader(setup):
    """A loader that knows no LD_PRELOAD: here a static program stands for it."""
    session = harness.Session(setup)
    loader = b"/lib64/ld-linux-x86-64.so.2"
    shutil.copy(setup.victim("static_nolibc", session.cwd), session.cwd / "odd")
    program = setup.victim("tick", session.cwd)
    contents = program.read_bytes()
    if loader not in contents:
        raise harness.Skip("another loader here")
    program.write_bytes(contents.replace(loader, b"./odd".ljust(len(loader), b"\0"), 1))
    session.start(["./tick", *ARGUMENTS], ready=False, env=VALUE)
    session.process.wait_armed()
    session.process.kill()


def little_memory(setup):
    """Whatever the limit: the agent is in it, or it has not run and one line says why."""
    cwd = setup.directory("work")
    program = setup.victim("static_nolibc", cwd)
    outcomes = {"protected": 0, "refused": 0}
    # The command itself runs from there on.
    least = next(limit for limit in range(1000, 4000, 20) if setup.run(
        shell(f"ulimit -v {limit}", [setup.ckpt, "--version"]), cwd)[0] == 0)
    for limit in range(least, least + 2000, 40):
        process = setup.start([*shell(f"ulimit -v {limit}", [setup.ckpt, program, *ARGUMENTS])],
                              cwd, env=VALUE)
        end = time.monotonic() + 20
        while not process.ended(0.002) and b"ready" not in process.out.seen():
            if time.monotonic() > end:
                raise harness.Failure(f"{limit} KiB: it neither ends nor begins")
        if process.ended():
            harness.expect_refusal(f"{limit} KiB", process.wait(),
                                   process.out.all().decode(), process.stderr(), "memory")
            outcomes["refused"] += 1
            continue
        if not process.catches(harness.TRIGGER) or process.err.seen():
            raise harness.Failure(f"{limit} KiB: unprotected: {process.err.seen()!r}")
        outcomes["protected"] += 1
        process.kill()
    print(f"        {outcomes}")
    if 0 in outcomes.values():
        raise harness.Failure(f"limits on one side only: {outcomes}")


def traced_already(setup):
    cwd = setup.directory("work")
    got = setup.run([tool("strace"), "-f", "-o", "trace", setup.ckpt,
                     setup.victim("first_view", cwd), "report"], cwd)
    harness.expect_refusal("under strace", *got, "first_view", "ptrace", "strace")


def signal_group(process, number):
    """To the group of a process that may just have ended."""
    if not process.ended():
        os.killpg(process.pid, number)


# --- disturbances ------------------------------------------------------------------------------

def tracer_of(pid):
    found = re.search(r"^TracerPid:\s*(\d+)", harness.read_proc(pid, "status"), re.M)
    return int(found[1]) if found else 0


def wait_for_tracer(process, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end and not process.ended():
        tracer = tracer_of(process.pid)
        if tracer:
            return tracer
    return 0


def killed_at_work(setup):
    """The tracer is killed at a random moment: the program runs, or one line says why it does not."""
    cwd = setup.directory("work")
    program = setup.victim("first_view", cwd)
    outcomes = {"ran": 0, "killed": 0, "refused": 0}
    for _ in range(60):
        (cwd / "report").unlink(missing_ok=True)
        process = setup.start([setup.ckpt, program, "report"], cwd)
        tracer = wait_for_tracer(process)
        time.sleep(setup.random.choice([0, 0, setup.random.uniform(0, 0.002)]))
        if tracer and tracer_of(process.pid) == tracer:
            harness.kill_quietly(tracer)
        status = process.wait(20)
        text = process.stderr()
        # Killed in the instant in which it lets go, it may have told the kernel to spare the program.
        let_go = "killed when it had done so" in text
        if status == 5 and (text == "" or let_go):
            outcomes["ran"] += 1
            if not (cwd / "report").exists():
                raise harness.Failure("status 5, and the program has not run")
        elif status in (-signal.SIGKILL, harness.REFUSED):
            outcomes["killed" if status < 0 else "refused"] += 1
            harness.expect_line("killed", text, "first_view", "killed", "start it again")
            if (cwd / "report").exists():
                raise harness.Failure(f"status {status}, but the program has run")
        else:
            raise harness.Failure(f"status {status}, stderr {text!r}")
        setup.check_nothing_left()
    print(f"        {outcomes}")
    if outcomes["killed"] == 0:
        raise harness.Failure(f"the tracer was never killed at its work: {outcomes}")


def holds_nothing(setup):
    """The tracer holds none of the program's descriptors but standard error."""
    cwd = setup.directory("work")
    program = setup.victim("first_view", cwd)
    looked = 0
    for _ in range(30):
        process = setup.start([setup.ckpt, program, "report"], cwd)
        tracer = wait_for_tracer(process)
        if tracer:
            try:
                os.kill(tracer, signal.SIGSTOP)
                links = [os.readlink(f"/proc/{tracer}/fd/{fd}")
                         for fd in os.listdir(f"/proc/{tracer}/fd")]
                still = tracer_of(process.pid) == tracer
                wanted = os.readlink(f"/proc/{process.pid}/fd/1")
                error = os.readlink(f"/proc/{process.pid}/fd/2")
            except OSError:
                still = False
            finally:
                try:
                    os.kill(tracer, signal.SIGCONT)
                except OSError:
                    pass
            if still:
                looked += 1
                foreign = [link for link in links
                           if link != error and not link.startswith(("pipe:", "socket:"))]
                if wanted in links or foreign:
                    raise harness.Failure(f"the tracer holds {links}; standard output is {wanted}")
        if process.wait(20) != 5 or process.stderr():
            raise harness.Failure(f"status {process.status}, {process.stderr()!r}")
    if looked < 3:
        raise harness.Failure(f"the tracer was seen {looked} times only")


def interrupted(setup):
    """^C while the program starts reaches it, whatever stage it is in, and nobody else."""
    cwd = setup.directory("work")
    program = setup.victim("static_plain", cwd)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
        for _ in range(15):
            process = setup.start([setup.ckpt, program, *ARGUMENTS], cwd, env=VALUE)
            if setup.random.random() < 0.5:
                wait_for_tracer(process)
            time.sleep(setup.random.uniform(0, 0.003))
            signal_group(process, number)
            status = process.wait(20)
            if status != -number or process.stderr():
                raise harness.Failure(f"{number.name}: status {status}, {process.stderr()!r}")
            setup.check_nothing_left()


def stopped(setup):
    """Stopped and continued while it starts, it starts all the same."""
    cwd = setup.directory("work")
    program = setup.victim("first_view", cwd)
    for _ in range(60):
        process = setup.start([setup.ckpt, program, "report"], cwd)
        if setup.random.random() < 0.7:
            wait_for_tracer(process)
        time.sleep(setup.random.uniform(0, 0.002))
        for _ in range(setup.random.randrange(1, 4)):
            signal_group(process, signal.SIGSTOP)
            time.sleep(setup.random.uniform(0, 0.01))
            # To all of the group, or to the program alone.
            if setup.random.random() < 0.5:
                signal_group(process, signal.SIGCONT)
            else:
                process.signal(signal.SIGCONT)
        status = process.wait(20)
        if status != 5 or process.stderr():
            raise harness.Failure(f"status {status}, {process.stderr()!r}")


def stays_stopped(setup):
    """A stop that arrives during the start holds until somebody continues the program."""
    cwd = setup.directory("work")
    program = setup.victim("static_plain", cwd)
    stop = cwd / "stop"

    def state(process):
        found = re.search(r"^State:\s*(\S)", harness.read_proc(process.pid, "status"), re.M)
        return found[1] if found else "?"

    for _ in range(20):
        stop.unlink(missing_ok=True)
        process = setup.start([setup.ckpt, program, *ARGUMENTS], cwd, env=VALUE)
        wait_for_tracer(process)
        process.signal(signal.SIGSTOP)
        # While the tracer works it is stopped again and again, but not for so long.
        stopped_for = [0]

        def settled():
            stopped_for[0] = stopped_for[0] + 1 if state(process) in "Tt" else 0
            return stopped_for[0] == 20

        process.wait_until(settled, "it is stopped", 10)
        stop.touch()
        process.signal(signal.SIGCONT)
        if process.wait(20) != 0 or process.stderr():
            raise harness.Failure(f"status {process.status}, {process.stderr()!r}")


def body(setup):
    harness.run_cases(setup, [
        *view_cases(setup),
        ("sees the same as process 1", lambda: process_one(setup)),
        ("before a new PID namespace", lambda: starts_a_namespace(setup)),
        *freeze_cases(setup),
        ("statuses pass through", lambda: statuses(setup)),
        ("not to be run", lambda: not_to_be_run(setup)),
        ("several threads", lambda: several_threads(setup)),
        ("refusals", lambda: refusals(setup)),
        ("unreadable", lambda: unreadable(setup)),
        ("two users at once", lambda: two_users(setup)),
        ("another loader", lambda: other_loader(setup)),
        ("little memory", lambda: little_memory(setup)),
        ("traced already", lambda: traced_already(setup)),
        ("the tracer is killed", lambda: killed_at_work(setup)),
        ("the tracer holds nothing", lambda: holds_nothing(setup)),
        ("interrupted while it starts", lambda: interrupted(setup)),
        ("stopped while it starts", lambda: stopped(setup)),
        ("stays stopped", lambda: stays_stopped(setup)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
