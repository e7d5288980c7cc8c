#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Who may not hold a process (ckpt -p PID, with --now and without): each cause is one line with its
cure, nothing has changed in the program, and where the rule leaves a way, that way works. Yama's rules
are emulated where the kernel has none (tests/support/yama.cpp)."""

import contextlib
import os
import signal
import subprocess
import sys

import harness

WAITING = "ready()\nwait()\nprint('ok')\n"
PROGRAM_32 = """
.globl _start
_start: mov $4, %eax; mov $1, %ebx; mov $text, %ecx; mov $6, %edx; int $0x80
1: mov $29, %eax; int $0x80; jmp 1b
.data
text: .ascii "ready\\n"
"""


def needs_root_who_drops(setup):
    if os.geteuid() != 0 or not setup.drops:
        raise harness.Skip("needs root, and an ordinary user who asks")


@contextlib.contextmanager
def as_root(setup, is_so=True):
    drops, setup.drops = setup.drops, setup.drops and not is_so
    try:
        yield
    finally:
        setup.drops = drops


def state(pid):
    lines = harness.read_proc(pid, "status").splitlines()
    return ([l for l in lines if l.startswith(("SigP", "SigB", "SigI", "SigC", "Cap", "Tracer", "Threads"))],
            harness.read_proc(pid, "maps"))


def refusals(setup, session, *words, before=(), root=False, pid=None):
    """Both requests end with the line, and the program is as it was."""
    pid = pid or session.process.pid
    before_it = state(pid)
    for more in ([], ["--now", "-c"]):
        with as_root(setup, root or bool(before)):
            status, out, err = setup.run([*before, setup.ckpt, "-p", pid, *more], session.cwd)
        if status == 77:
            raise harness.Skip(err.strip())
        if status != 1 or out:
            raise harness.Failure(f"{more}: status {status}, stdout {out!r}, stderr {err!r}")
        harness.expect_line("refusal", err, f"process {pid}: ", *words)
    if state(pid) != before_it:
        raise harness.Failure(f"it has changed: {before_it}\n{state(pid)}")


def yama(setup, session, rule, user=harness.USER_ID):
    return [setup.victim("yama", session.cwd), rule, user]


def rule(setup, number, words, user=harness.USER_ID):
    """Of an ordinary user's program; by him, or by root."""
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    session.launch(session.script(WAITING))
    refusals(setup, session, "not permitted", f"rule {number}", "ptrace_scope", words,
             before=yama(setup, session, number, user))
    session.end()


def rule_leaves_root(setup, number):
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    session.launch(session.script(WAITING))
    with as_root(setup):
        status, out, err = setup.run([*yama(setup, session, number, 0), setup.ckpt, "-p",
                                      session.process.pid, "-n", session.image], session.cwd)
    if status == 77:
        raise harness.Skip(err.strip())
    if status != 0 or out or err:
        raise harness.Failure(f"status {status}, {out!r}, {err!r}")
    session.checkpoint()
    session.restart()
    session.end()


def by_its_ancestor(setup, *more):
    """exec ckpt -p PID in the shell that has started it: under rule 1 that works."""
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    program = session.script(WAITING)
    with as_root(setup):
        asker = setup.start([*yama(setup, session, "1"), setup.ckpt, "-p", "PID", "-n", session.image,
                             *more, "--", *program], session.cwd)
    output = session.cwd / "output"
    try:
        asker.wait_until(lambda: output.exists() and output.read_bytes() == b"ready\n", "the program")
    except harness.Failure:
        if asker.status == 77:
            raise harness.Skip(asker.stderr().strip()) from None
        raise
    (session.cwd / "go").touch()
    if asker.wait() == 77:
        raise harness.Skip(asker.stderr().strip())
    said = asker.out.all().decode()
    if asker.status != 0 or asker.stderr() or said != (f"{session.image}\n" if more else ""):
        raise harness.Failure(f"status {asker.status}, {said!r}, {asker.stderr()!r}")
    if not more:
        program = [pid for pid in setup.strays() if harness.read_proc(pid, "comm") == "python3\n"]
        if len(program) != 1:
            raise harness.Failure(f"{program}")
        os.kill(program[0], harness.TRIGGER)
    session.process = asker
    end = harness.time.monotonic() + 20
    while not session.image.exists() or any(
            harness.read_proc(pid, "comm") == "python3\n" for pid in setup.strays() if not more):
        if harness.time.monotonic() > end:
            raise harness.Failure("no image")
        harness.time.sleep(0.005)
    harness.check_image(setup, session.image)
    session.stop()
    end = harness.time.monotonic() + 20
    while more and output.read_bytes() != b"ready\nok\n":
        if harness.time.monotonic() > end:
            raise harness.Failure(f"{output.read_bytes()!r}")
        harness.time.sleep(0.005)


def other_user(setup):
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    with as_root(setup):
        session.launch(session.script(WAITING))
    refusals(setup, session, "not permitted", "user 0", "root")
    session.end()


def set_privileges(setup, words, *options):
    """A program of the same user with more, or other, than he has."""
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    user = str(harness.USER_ID)
    before = ["setpriv", f"--reuid={user}", *options]
    if subprocess.run([*before, "true"], capture_output=True).returncode != 0:
        raise harness.Skip("setpriv cannot do that here")
    with as_root(setup):
        session.launch([*before, *session.script(WAITING)])
    refusals(setup, session, "not permitted", words, "root")
    with as_root(setup):
        status, _, err = setup.run([setup.ckpt, "-p", session.process.pid], session.cwd)
    if status != 0:
        raise harness.Failure(f"root: {status} {err!r}")
    session.end()


def not_dumpable(setup):
    needs_root_who_drops(setup)
    session = harness.Session(setup)
    session.launch(session.script("import ctypes\nassert ctypes.CDLL(None).prctl(4, 0, 0, 0, 0) == 0\n"
                                  + WAITING))
    refusals(setup, session, "not permitted", "not dumpable", "root")
    with as_root(setup):
        status, _, err = setup.run([setup.ckpt, "-p", session.process.pid], session.cwd)
    if status != 0:
        raise harness.Failure(f"root: {status} {err!r}")
    session.end()


def from_a_namespace(setup):
    """Whoever asks sits in a user namespace of his own, and has no say over what is outside."""
    session = harness.Session(setup)
    before = ["unshare", "-U"]
    if subprocess.run([*before, "true"], capture_output=True).returncode != 0:
        raise harness.Skip("no namespace can be made")
    session.launch(session.script(WAITING))
    pid = session.process.pid
    for more in ([], ["--now", "-c"]):
        status, out, err = setup.run([*before, setup.ckpt, "-p", pid, *more], session.cwd)
        if status != 1 or out:
            raise harness.Failure(f"{more}: status {status}, stdout {out!r}, stderr {err!r}")
        harness.expect_line("refusal", err, f"process {pid}: ", "not permitted", "namespace|user \\d")
    session.end()


def from_a_pid_namespace(setup):
    session = harness.Session(setup)
    before = ["unshare", "-Urpf", "--mount-proc"]
    if subprocess.run([*before, "true"], capture_output=True).returncode != 0:
        raise harness.Skip("no namespace can be made")
    session.launch(session.script(WAITING))
    status, out, err = setup.run([*before, setup.ckpt, "-p", session.process.pid], session.cwd)
    if status != 1 or out:
        raise harness.Failure(f"status {status}, stdout {out!r}, stderr {err!r}")
    harness.expect_line("refusal", err, "no such process")
    session.end()


def under_a_filter(setup):
    """Whoever asks is under seccomp and has no ptrace: a container's profile, and no Yama."""
    session = harness.Session(setup)
    session.launch(session.script(WAITING))
    (session.cwd / "no_ptrace.py").write_text(
        "import ctypes, os, struct, sys\nlibc = ctypes.CDLL(None)\nlibc.prctl(38, 1, 0, 0, 0)\n"
        "def code(*steps): return b''.join(struct.pack('HBBI', *step) for step in steps)\n"
        "text = ctypes.create_string_buffer(code((0x20, 0, 0, 0), (0x15, 2, 0, 101), (0x15, 1, 0, 310),\n"
        "  (6, 0, 0, 0x7fff0000), (6, 0, 0, 0x50001)))\n"
        "program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 5, ctypes.addressof(text)))\n"
        "assert libc.prctl(22, 2, program, 0, 0) == 0\nos.execv(sys.argv[1], sys.argv[1:])\n")
    for more in ([], ["--now", "-c"]):
        status, out, err = setup.run(["/usr/bin/python3", "-I", "-S", "no_ptrace.py", setup.ckpt, "-p",
                                      session.process.pid, *more], session.cwd)
        if status != 1 or out:
            raise harness.Failure(f"{more}: status {status}, stdout {out!r}, stderr {err!r}")
        harness.expect_line("refusal", err, "not permitted", "seccomp|Yama", "root")
    session.end()


def program_of_32_bits(setup):
    session = harness.Session(setup)
    (session.cwd / "small.S").write_text(PROGRAM_32)
    made = subprocess.run(["gcc", "-m32", "-nostdlib", "-static", "-no-pie", "-o", "small", "small.S"],
                          cwd=session.cwd, capture_output=True)
    if made.returncode != 0:
        raise harness.Skip("nothing makes a 32-bit program here")
    os.chmod(session.cwd / "small", 0o755)
    try:
        session.launch(["./small"])
    except OSError as error:
        raise harness.Skip(f"no 32-bit program runs here: {error}") from None
    refusals(setup, session, "32-bit")
    if session.process.ended(0.1):
        raise harness.Failure(f"it has ended with {session.process.status}")
    session.process.signal(signal.SIGKILL)
    session.process.wait()


def body(setup):
    user = str(harness.USER_ID)
    cases = [
        ("Yama 1", lambda: rule(setup, "1", "exec ckpt -p \\d+")),
        ("Yama 2", lambda: rule(setup, "2", "root")),
        ("Yama 3", lambda: rule(setup, "3", "boot")),
        ("Yama 3, root", lambda: rule(setup, "3", "boot", 0)),
        ("Yama 1, root", lambda: rule_leaves_root(setup, "1")),
        ("Yama 2, root", lambda: rule_leaves_root(setup, "2")),
        ("Yama 1, its ancestor", lambda: by_its_ancestor(setup)),
        ("Yama 1, its ancestor, --now", lambda: by_its_ancestor(setup, "--now", "-c")),
        ("other user", lambda: other_user(setup)),
        ("other group", lambda: set_privileges(setup, "group 100", "--regid=100", "--clear-groups")),
        ("capabilities", lambda: set_privileges(
            setup, "capabilities", f"--regid={user}", "--clear-groups", "--inh-caps=+net_raw",
            "--ambient-caps=+net_raw")),
        ("not dumpable", lambda: not_dumpable(setup)),
        ("from a user namespace", lambda: from_a_namespace(setup)),
        ("from a PID namespace", lambda: from_a_pid_namespace(setup)),
        ("under a filter", lambda: under_a_filter(setup)),
        ("32 bits", lambda: program_of_32_bits(setup)),
    ]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
