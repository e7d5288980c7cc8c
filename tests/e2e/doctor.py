#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""ckpt --doctor: what it says of a process is what ckpt -p PID --now --continue then does, in the same
words; what it says of an image is what running it does. It leaves no trace: it makes none of the calls by
which it could (a filter kills it for them), and what /proc shows of the process is as before."""

import ctypes
import json
import os
import pathlib
import re
import resource
import signal
import struct
import subprocess
import sys
import time

import jsonschema

import harness
import refuse

SCHEMA = json.loads((pathlib.Path(__file__).resolve().parents[2] / "docs/doctor.schema.json").read_text())

# Programs of tests/victims that can be saved.
GOOD = ("heap shared_anonymous memfd memfd_sealed deleted_map deleted_shared_map shared_file_map "
        "shared_readonly_map private_file_map sysv_shm epoll epoll_nested eventfd timerfd signalfd socketpair "
        "pipe_within pipe_left guard_pages odd_paths threads_glibc threads_leader_gone threads_many "
        "static_plain musl_static musl_threads_dynamic many_descriptors many_mappings everything "
        "sparse_file_map dev_zero_map beyond_end long_path sealed madvise tick").split()
# What only the checkpoint itself sees; the doctor says that it has not looked.
UNSEEN = {"urgent": "urgent byte", "empty-message": "empty message", "descriptor-table": "modify_ldt"}


# ---------------------------------------------------------------------------------------------
# asking


def doctor(setup, cwd, *words, status=None, **more):
    """The answer, which must fit the schema and agree with the status."""
    words = list(map(str, words))
    words.insert(setup.random.choice([0, len(words)]), "--json")  # in front of whom it is about, or behind
    words = [setup.ckpt, "--doctor", *words]
    got, out, err = setup.run(words, cwd, **more)
    if got not in (0, 1) or err:
        raise harness.Failure(f"{words[1:]}: status {got}, stdout {out[-500:]!r}, stderr {err!r}")
    answer = json.loads(out)
    jsonschema.validate(answer, SCHEMA)
    if (got == 0) != (answer["verdict"] == "yes") or (got == 0) != (not answer["stops"]):
        raise harness.Failure(f"status {got}, verdict {answer['verdict']}, stops {answer['stops']}")
    if status is not None and got != status:
        raise harness.Failure(f"status {got} and not {status}: {json.dumps(answer['stops'], indent=1)}")
    return answer


def reasons(answer, part="stops"):
    return [finding["reason"] for finding in answer[part]]


def expect(answer, *words, part="stops"):
    for word in words:
        if not any(re.search(word, line) for line in reasons(answer, part)):
            raise harness.Failure(f"none of {part} has {word!r}: {reasons(answer, part)}")


def trace(pid):
    """What /proc shows of a process that does nothing."""
    status = harness.read_proc(pid, "status")
    shown = re.findall(r"^(?:TracerPid|Threads|Sig(?:Pnd|Blk|Ign|Cgt)|ShdPnd|Seccomp|FDSize|VmSize):.*$", status, re.M)
    for fd in sorted(os.listdir(f"/proc/{pid}/fd")):
        shown += [fd, os.readlink(f"/proc/{pid}/fd/{fd}"), harness.read_proc(pid, f"fdinfo/{fd}")]
    return shown + [harness.read_proc(pid, "maps")]


def checkpointed(session, pid, *options, **more):
    """What a checkpoint that goes on really says: None for a complete image, otherwise its line."""
    image = session.cwd / "by-doctor.ckpt"
    words = [session.setup.ckpt, "-p", str(pid), "--now", "--continue", "-n", image, *options]
    status, out, err = session.setup.run(words, session.cwd, timeout=120, **more)
    if status == 0:
        size = image.stat().st_size
        image.unlink()
        return None, size
    if status != 1 or not err.startswith("ckpt: "):
        raise harness.Failure(f"{words[1:]}: status {status}, stdout {out!r}, stderr {err!r}")
    return err.strip(), 0


def agree(session, pid=None, options=(), silent=False, what=(), **more):
    """The doctor first, then the checkpoint itself; the doctor's answer."""
    pid = pid or session.process.pid
    before = trace(pid) if silent else None
    asked = ["-n", session.cwd / "by-doctor.ckpt", *options]
    answer = doctor(session.setup, session.cwd, *asked, pid, **more)
    if silent and trace(pid) != before:
        raise harness.Failure(f"it has left a trace: {set(trace(pid)) ^ set(before)}")
    line, size = checkpointed(session, pid, *options, **more)
    if line is None and answer["verdict"] != "yes":
        raise harness.Failure(f"an image was made, and the doctor said {reasons(answer)}")
    if line is not None and answer["verdict"] != "no":
        raise harness.Failure(f"the doctor said yes, and the checkpoint {line!r}")
    if line is not None:
        # Some reasons end in figures of the doctor's own, in brackets.
        parts = [re.sub(r" \(about .*\)$", "", reason) for reason in reasons(answer)]
        if not any(part in line for part in parts):
            raise harness.Failure(f"the checkpoint said {line!r}, and the doctor {parts}")
        if not all(finding["cure"] for finding in answer["stops"]):
            raise harness.Failure(f"a reason without a cure: {answer['stops']}")
        for word in what:
            if not re.search(word, line):
                raise harness.Failure(f"the checkpoint said {line!r} and not {word!r}")
    else:
        guess = answer["facts"]["image_bytes"]
        if not size <= guess * 1.25 + (1 << 20) or not guess <= 4 * size + (8 << 20):
            raise harness.Failure(f"the image has {size} bytes, and {guess} were expected")
        if what:
            raise harness.Failure(f"an image was made of what cannot be saved: {what}")
    return answer


def script(setup, text, started=False, name="work", **more):
    session = harness.Session(setup, name)
    argv = session.script(text + "\nready()\nwait()\nprint('ok')\n")
    (session.start if started else session.launch)(argv, **more)
    return session


# ---------------------------------------------------------------------------------------------
# processes


def good(setup, name, started):
    session = harness.Session(setup)
    words = session.victim(name)
    silent, held = os.pipe()
    try:
        (session.start if started else session.launch)(words, ready=False, stdin=silent)
        if not session.process.out.wait_for(b"ready\n", 60):
            if session.process.ended(1) and session.process.status == harness.SKIPPED:
                raise harness.Skip(session.process.out.all().decode().strip())
            session.process.wait_output(b"ready\n")
        answer = agree(session)
        if answer["verdict"] != "yes":
            raise harness.Failure(f"{reasons(answer)}")
        if answer["facts"]["agent"] != ("there" if started else answer["facts"]["agent"]):
            raise harness.Failure(f"the agent: {answer['facts']['agent']}")
    finally:
        os.close(silent)
        os.close(held)
    session.process.kill()


def refused(setup, kind, started):
    session = harness.Session(setup)
    words = session.victim("refused", kind)
    (session.start if started else session.launch)(words, ready=False)
    if not session.process.out.wait_for(b"ready\n", 20):
        if session.process.ended(1) and session.process.status == harness.SKIPPED:
            raise harness.Skip(session.process.out.all().decode().strip())
        session.process.wait_output(b"ready\n")
    if kind in UNSEEN:
        expect(doctor(setup, session.cwd, session.process.pid), UNSEEN[kind], part="unseen")
    else:
        agree(session, what=[re.escape(refuse.KINDS[kind][1])])
    session.process.kill()


# What a program holds, and what is said of it.
HOLDS = {
    "inotify": ("import ctypes; ctypes.CDLL(None).inotify_init()", "inotify"),
    "a named pipe": ("os.mkfifo('fifo'); f = os.open('fifo', os.O_RDWR)", "a named pipe"),
    "a pipe to outside": ("r, w = os.pipe()\nif os.fork() == 0:\n  if os.fork() == 0:\n    os.close(w)\n"
                          "    import time; time.sleep(60)\n  os._exit(0)\nos.wait(); os.close(r)",
                          "a pipe whose other end another process has"),
    "a lease": ("import fcntl; f = open('leased', 'w'); fcntl.fcntl(f, fcntl.F_SETLEASE, fcntl.F_WRLCK)",
                "O_ASYNC|holds a lease"),
    "O_ASYNC": ("import fcntl; r, w = os.pipe(); fcntl.fcntl(r, fcntl.F_SETFL, os.O_ASYNC)", "O_ASYNC"),
    "a pidfd": ("f = os.pidfd_open(os.getpid())", "descriptor"),
    "a terminal": ("import pty; m, s = pty.openpty()", "descriptor"),
    "a directory that is gone": ("os.mkdir('d'); os.chdir('d'); os.rmdir('../d')", "the working directory"),
    "an open directory that is gone": ("os.mkdir('d'); f = os.open('d', os.O_RDONLY); os.rmdir('d')",
                                       "a deleted directory"),
    "a deleted file that cannot be read": ("f = os.open('x', os.O_WRONLY | os.O_CREAT, 0o200); os.write(f, b'x'); os.unlink('x')",
                                           "a deleted file that cannot be read"),
    "memory of a child that is none of it": (
        "import mmap\nm = mmap.mmap(-1, 65536); m[:] = bytes([1]) * 65536\nif os.fork() == 0:\n"
        "  if os.fork() == 0:\n    m[:10]; import time; time.sleep(60)\n  os._exit(0)\nos.wait()\n"
        "import time\nwhile 'Shared_Dirty:         64' not in open('/proc/self/smaps').read(): time.sleep(.01)",
        "mapped by another process"),
    "a file of hugetlb pages": (
        "f = os.memfd_create('x', 4)", "hugetlb"),
    "secret memory": ("import ctypes, mmap; f = ctypes.CDLL(None).syscall(447, 0); assert f > 0; "
                      "os.ftruncate(f, 4096)\nimport atexit", "secret memory"),
    "an AIO context": ("import ctypes; c = ctypes.c_ulong(0); "
                       "assert ctypes.CDLL(None).syscall(206, 8, ctypes.byref(c)) == 0", "asynchronous I/O ring"),
    "io_uring": ("import ctypes; p = (ctypes.c_char * 120)(); "
                 "assert ctypes.CDLL(None).syscall(425, 4, p) > 0", "descriptor"),
    "userfaultfd": ("import ctypes; assert ctypes.CDLL(None).syscall(323, 1) > 0", "descriptor"),
    "a table of its own": ("import ctypes, threading\nt = threading.Event()\ndef f():\n"
                           "  assert ctypes.CDLL(None).unshare(0x400) == 0; t.set(); threading.Event().wait()\n"
                           "threading.Thread(target=f, daemon=True).start(); t.wait()",
                           "a table of descriptors"),
    "a directory of its own": ("import ctypes, threading\nt = threading.Event()\ndef f():\n"
                               "  assert ctypes.CDLL(None).unshare(0x200) == 0; t.set(); threading.Event().wait()\n"
                               "threading.Thread(target=f, daemon=True).start(); t.wait()",
                               "a working directory"),
    "a server": ("import socket; s = socket.socket(); s.bind(('127.0.0.1', 0)); s.listen()", "is a socket"),
}


def holds(setup, name, started):
    text, what = HOLDS[name]
    try:
        session = script(setup, text, started)
    except harness.Failure as failure:
        if "Error" in str(failure):
            raise harness.Skip("not on this machine") from failure
        raise
    root = os.geteuid() == 0 and not setup.drops
    agree(session, silent=True, what=[] if root and "cannot be read" in what else [what])
    for pid in setup.strays():
        if pid != session.process.pid:
            harness.kill_quietly(pid)
    if "working directory" in what:
        session.process.kill()  # it waits for a file there
    else:
        session.end()


def quiet(setup, started):
    session = script(setup, "import threading, socket\na = socket.socketpair(); f = open('f', 'w+'); f.write('x')\n"
                     "e = os.open('empty', os.O_RDWR | os.O_CREAT); os.unlink('empty')",
                     started)
    answer = agree(session, silent=True)
    if answer["facts"]["pid"] != session.process.pid or answer["facts"]["threads"] != 1:
        raise harness.Failure(f"{answer['facts']}")
    session.end()


def ignored(setup):
    """--ignore-fd is asked for as it would be of the checkpoint."""
    session = script(setup, "import socket; s = socket.socket(); os.dup2(s.fileno(), 77); s.close()")
    answer = doctor(setup, session.cwd, "--ignore-fd", "77", session.process.pid, status=0)
    expect(answer, "descriptor 77", part="losses")
    doctor(setup, session.cwd, "--ignore-fd", "socket", session.process.pid, status=0)
    expect(doctor(setup, session.cwd, "--ignore-fd", "76", session.process.pid, status=1), "descriptor 77")
    agree(session, options=["--ignore-fd", "77"])
    session.end()


def stopped(setup):
    session = script(setup, "", True)
    session.process.signal(signal.SIGSTOP)
    session.process.wait_until(lambda: ") T" in harness.read_proc(session.process.pid, "stat"), "a stop")
    agree(session, silent=True, what=["stopped"])
    if ") T" not in harness.read_proc(session.process.pid, "stat"):
        raise harness.Failure("it was let go on")
    session.process.signal(signal.SIGCONT)
    session.process.wait_until(lambda: ") T" not in harness.read_proc(session.process.pid, "stat"), "it runs")
    agree(session)
    session.end()


def traced(setup, started):
    session = script(setup, "", started)
    pid = session.process.pid
    tracer = os.fork()
    if tracer == 0:
        if setup.drops:
            os.setresgid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
            os.setresuid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        os._exit(0 if libc.ptrace(0x4206, pid, 0, 0) == 0 and signal.pause() is None else 1)
    try:
        session.process.wait_until(
            lambda: f"TracerPid:\t{tracer}" in harness.read_proc(pid, "status"), "a tracer")
        agree(session, silent=True, what=[f"traced by process {tracer}"])
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)
    session.end()


# Returns an error for personality(2), which nobody asks for.
FILTER = ("import ctypes, struct\nl = ctypes.CDLL(None)\n"
          "code = b''.join(struct.pack('HBBI', *i) for i in [(0x20, 0, 0, 0), (0x15, 0, 1, 135), "
          "(6, 0, 0, 0x50001), (6, 0, 0, 0x7fff0000)])\nb = ctypes.create_string_buffer(code, len(code))\n"
          "class P(ctypes.Structure): _fields_ = [('n', ctypes.c_ushort), ('p', ctypes.c_void_p)]\n"
          "l.prctl(38, 1, 0, 0, 0)\nassert l.prctl(22, 2, ctypes.byref(P(4, ctypes.addressof(b))), 0, 0) == 0\n")


def seccomp(setup, started):
    session = script(setup, FILTER, started)
    agree(session, silent=True, what=["seccomp"])
    doctor(setup, session.cwd, session.process.pid, env={"CKPT_SECCOMP": "try"}, status=0)
    session.end()


def seccomp_of_thread(setup):
    session = script(setup, "import threading\nt = threading.Event()\ndef f():\n  " +
                     FILTER.replace("\n", "\n  ") + "t.set(); threading.Event().wait()\n"
                     "threading.Thread(target=f, daemon=True).start(); t.wait()", True)
    agree(session, silent=True, what=["thread .* is under seccomp"])
    session.end()


def other_user(setup):
    if os.geteuid() != 0 or not setup.drops:
        raise harness.Skip("needs root's process and an ordinary user who asks")
    session = harness.Session(setup)
    argv = session.script("ready()\nwait()\nprint('ok')\n")
    setup.drops = False
    try:
        session.launch(argv)
    finally:
        setup.drops = True
    answer = agree(session, what=["not permitted"])
    expect(answer, "descriptors, memory", part="unseen")
    session.end()


def not_dumpable(setup, started):
    session = script(setup, "import ctypes; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)", started)
    agree(session, what=["not permitted"] if setup.drops else [])
    session.end()


def no_process(setup):
    session = script(setup, "if os.fork() == 0: os._exit(0)")
    child = harness.children_of(session.process.pid)[0]
    session.process.wait_until(lambda: "Z" in harness.read_proc(child, "stat"), "a zombie")
    expect(doctor(setup, session.cwd, child, status=1), "a zombie")
    agree(session, what=[rf"has a child process"])
    expect(doctor(setup, session.cwd, (1 << 22) + 1, status=1), "there is no such process")
    if "kthreadd" in harness.read_proc(2, "comm"):
        expect(doctor(setup, session.cwd, 2, status=1), "a thread of the kernel")
    session.process.kill()


def limits(setup):
    def limited(which, value):
        session = script(setup, "")
        resource.prlimit(session.process.pid, which, value)
        return session

    if setup.drops:
        raise harness.Skip("needs a test that may change the limits of another process")

    session = limited(resource.RLIMIT_FSIZE, (1 << 16, 1 << 30))
    agree(session, what=["file too large"])
    session.end()
    for agent_left in (1 << 20, 3 << 20):
        session = script(setup, "", name=f"as{agent_left}")
        size = int(re.search(r"VmSize:\s*(\d+)", harness.read_proc(session.process.pid, "status"))[1]) * 1024
        resource.prlimit(session.process.pid, resource.RLIMIT_AS, (size + agent_left, size + (1 << 30)))
        answer = doctor(setup, session.cwd, session.process.pid, status=1)
        expect(answer, "cannot allocate memory")
        line, _ = checkpointed(session, session.process.pid)
        if line is None or "memory" not in line:
            raise harness.Failure(f"{line}")
        session.end()


def names(setup):
    session = script(setup, "", True)
    pid = session.process.pid

    def both(name, *words):
        answer = doctor(setup, session.cwd, "-n", name, pid, status=1)
        expect(answer, *words)
        line, _ = checkpointed(session, pid, "-n", name)
        if line is None or not any(reason in line for reason in reasons(answer)):
            raise harness.Failure(f"{line!r} and {reasons(answer)}")

    both(session.cwd / ("x" * 256), "more than 255 characters")
    os.mkfifo(session.cwd / "fifo")
    setup.give(session.cwd / "fifo")
    both(session.cwd / "fifo", "which is no file")
    if not (session.cwd / "fifo").is_fifo():
        raise harness.Failure("the named pipe is gone")
    both(session.cwd / "nowhere/x", "cannot create .*no such file")
    if setup.drops:
        closed = setup.scratch / "closed"
        closed.mkdir(exist_ok=True)
        closed.chmod(0o755)
        both(closed / "x", "cannot create .*permission denied")
        # Root, asking about the user's process, sees what the user may.
        setup.drops = False
        try:
            answer = doctor(setup, session.cwd, "-n", closed / "x", pid, status=1)
        finally:
            setup.drops = True
        expect(answer, "cannot create .*permission denied")
    session.end()


def space(setup):
    where = harness.mount_tmpfs(setup, "small", "512k")
    session = script(setup, "")
    answer = doctor(setup, session.cwd, "-n", where / "x", session.process.pid, status=1)
    expect(answer, "no space left")
    line, _ = checkpointed(session, session.process.pid, "-n", where / "x")
    if line is None or "no space left" not in line:
        raise harness.Failure(f"{line!r}")
    session.end()


def namespaces(setup):
    if setup.drops or subprocess.run(["unshare", "-pfmn", "--mount-proc", "true"],
                                     capture_output=True).returncode != 0:
        raise harness.Skip("no namespace can be made")
    session = harness.Session(setup)
    session.launch(["unshare", "-pfmn", "--mount-proc", "--kill-child", *session.script(
        "import socket\na = socket.socketpair()\nos.mkdir('m')\n"
        "import subprocess\nsubprocess.run(['mount', '-t', 'tmpfs', 'none', 'm'], check=True)\n"
        "f = open('m/inside', 'w')\nready()\nwait()\nprint('ok')\n")])
    program = harness.children_of(session.process.pid)[0]
    answer = agree(session, program, silent=True)
    expect(answer, r"its namespaces \(mnt, net", part="losses")
    session.end()


def restarted(setup):
    """A program behind its stand-in, by either number."""
    session = script(setup, "", True)
    session.checkpoint()
    session.restart()
    answer = agree(session)
    if session.process.program() != session.process.pid:
        if answer["facts"].get("behind") != session.process.program():
            raise harness.Failure(f"{answer['facts']}")
        agree(session, session.process.program())
    session.end()


def restless(setup):
    """Threads, descriptors and memory that come and go are no error and no reason."""
    session = harness.Session(setup)
    session.launch(session.script(
        "import threading, mmap\nend = False\n"
        "def churn():\n"
        "  while not end:\n"
        "    a = os.open('/dev/null', os.O_RDONLY); b = os.dup(a); r, w = os.pipe(); m = mmap.mmap(-1, 8192)\n"
        "    m[0] = 1; os.close(a); os.close(b); os.close(r); os.close(w); m.close()\n"
        "def births():\n"
        "  while not end:\n"
        "    t = threading.Thread(target=lambda: None); t.start(); t.join()\n"
        "all = [threading.Thread(target=f) for f in (churn, births)]\n"
        "for t in all: t.start()\nready()\nwait()\nend = True\nfor t in all: t.join()\nprint('ok')\n"))
    for _ in range(12):
        answer = doctor(setup, session.cwd, session.process.pid)
        # A pipe with one end just closed is what it seems to be.
        left = [r for r in reasons(answer) if "pipe whose other end" not in r]
        if left:
            raise harness.Failure(f"{left}")
    session.end()


# The calls by which a process could be disturbed: kill the caller (BPF).
TOUCHING = {"ptrace": 101, "tgkill": 234, "process_vm_writev": 311, "pidfd_getfd": 438, "rt_sigqueueinfo": 129,
            "pidfd_send_signal": 424}


def guarded(words, cwd, setup):
    code = struct.pack("HBBI", 0x20, 0, 0, 0)
    for number in TOUCHING.values():
        code += struct.pack("HBBI", 0x15, 0, 1, number) + struct.pack("HBBI", 6, 0, 0, 0x80000000)
    code += struct.pack("HBBI", 6, 0, 0, 0x7fff0000)
    room = ctypes.create_string_buffer(code, len(code))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    program = Program(len(code) // 8, ctypes.addressof(room))
    libc = ctypes.CDLL(None)

    def enter():
        if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
            os._exit(99)

    identity = dict(user=harness.USER_ID, group=harness.USER_ID, extra_groups=[]) if setup.drops else {}
    return subprocess.run([str(word) for word in words], cwd=cwd, stdin=subprocess.DEVNULL, preexec_fn=enter,
                          capture_output=True, text=True, env=setup.environment(), **identity)


def touches_nothing(setup):
    session = script(setup, "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
                     "r, w = os.pipe(); os.close(w)\nimport socket; s = socket.socketpair()", True)
    pid = session.process.pid
    before = trace(pid)
    done = guarded([setup.ckpt, "--doctor", "--json", pid], session.cwd, setup)
    if done.returncode != 0 or json.loads(done.stdout)["verdict"] != "yes":
        raise harness.Failure(f"{done.returncode} {done.stderr!r} {done.stdout[-300:]!r}")
    if trace(pid) != before:
        raise harness.Failure("a trace")
    # The filter does what it is for: a checkpoint needs those calls.
    done = guarded([setup.ckpt, "-p", pid, "--now", "-c", "-n", "x.ckpt"], session.cwd, setup)
    if done.returncode == 0:
        raise harness.Failure("a checkpoint was made without any of those calls")
    session.end()


# ---------------------------------------------------------------------------------------------
# triggers, images, machines


def triggers(setup):
    for state, word in (("signal.signal(signal.SIGUSR2, lambda *_: 0)", "handles SIGUSR2 itself"),
                        ("signal.signal(signal.SIGUSR2, signal.SIG_IGN)", "ignores SIGUSR2"),
                        ("signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])", "blocks SIGUSR2")):
        session = script(setup, f"import signal; {state}")
        answer = doctor(setup, session.cwd, "-a", "USR2", session.process.pid, status=0)
        expect(answer, word, part="notes")
        if not any("--now" in note["cure"] for note in answer["notes"]):
            raise harness.Failure(f"{answer['notes']}")
        if any("SIGUSR1" in line for line in reasons(doctor(setup, session.cwd, "-a", "USR1",
                                                            session.process.pid), "notes")):
            raise harness.Failure("SIGUSR1 is free")
        session.end()


def image_of(setup, text, name="work"):
    session = script(setup, text, True, name)
    session.checkpoint()
    return session


def images(setup):
    session = image_of(setup, "f = open('data', 'w'); f.write('x' * 5000); f.flush()")
    answer = doctor(setup, session.cwd, session.IMAGE, status=0)
    if answer["of"] != "image" or answer["facts"]["image_bytes"] != session.image.stat().st_size:
        raise harness.Failure(f"{answer['facts']}")
    data = session.cwd / "data"

    def both(*words):
        answer = doctor(setup, session.cwd, session.IMAGE, status=1)
        expect(answer, *words)
        session.refused(words[0], *words)

    data.rename(session.cwd / "elsewhere")
    both("has vanished")
    data.write_text("y" * 7000)
    setup.give(data)
    both("was replaced by another")
    data.unlink()
    (session.cwd / "elsewhere").rename(data)
    os.truncate(data, 100)
    both("has shrunk from 5000 to 100 bytes")
    os.truncate(data, 6000)
    expect(doctor(setup, session.cwd, session.IMAGE, status=0), "has grown", part="notes")
    os.truncate(data, 5000)
    os.chmod(session.image, 0o600)
    expect(doctor(setup, session.cwd, session.IMAGE, status=0), "cannot be run as it stands", part="notes")
    os.chmod(session.image, 0o700)
    doctor(setup, session.cwd, session.IMAGE, status=0)
    session.restart()
    session.end()


def no_directory(setup):
    session = image_of(setup, "")
    lost = session.cwd.rename(session.cwd.with_name("moved"))
    expect(doctor(setup, lost, session.IMAGE, status=1), "cannot go to the working directory")
    lost.rename(session.cwd)
    doctor(setup, session.cwd, session.IMAGE, status=0)
    session.restart()
    session.end()


def damaged(setup):
    session = image_of(setup, "x = os.urandom(1 << 20)")
    whole = session.image.read_bytes()

    def both(content):
        session.image.write_bytes(content)
        answer = doctor(setup, session.cwd, session.IMAGE, status=1)
        status, out, err = setup.run([setup.readckpt, "verify", session.IMAGE], session.cwd)
        if status == 0 or not any(reason in err for reason in reasons(answer)):
            raise harness.Failure(f"{reasons(answer)}, and readckpt {err!r}")

    both(whole[:len(whole) // 2])
    for _ in range(4):
        at = setup.random.randrange(4096, len(whole))
        both(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1:])
    both(b"#!/bin/sh\n")
    both(b"")


def machine(setup):
    session = harness.Session(setup)
    answer = doctor(setup, session.cwd)
    if answer["of"] != "machine" or len(answer["facilities"]) < 15:
        raise harness.Failure(f"{answer}")
    status, out, err = setup.run([setup.ckpt, "--doctor"], session.cwd)
    missing = [f["name"] for f in answer["facilities"] if f["name"] not in out]
    if missing or err or status != (0 if answer["verdict"] == "yes" else 1):
        raise harness.Failure(f"{status} {missing} {err!r}")
    if max(map(len, out.splitlines())) > 100:
        raise harness.Failure("a line of more than 100 columns")


def identity(setup):
    """What it says of the number is what a restart then does."""
    session = image_of(setup, "")
    for _ in range(2):
        answer = doctor(setup, session.cwd, session.IMAGE)
        session.restart("--verbose", armed=False)
        session.process.wait_until(lambda: session.process.err.seen().endswith(b"\n"), "its line")
        said = session.process.err.seen().decode()
        is_one = {"keep": "number .* again$", "namespace": "again, in a namespace", "new": "goes on as process"}
        if not re.search(is_one[answer["facts"]["identity"]], said.split(";")[0].strip()):
            raise harness.Failure(f"{answer['facts']['identity']}, and the restart said {said!r}")
        session.process.kill()


def usage(setup):
    session = harness.Session(setup)
    for words, wanted in ((["--doctor", "1", "2"], 2), (["--doctor", "--remove", "1"], 2), (["--json"], 125),
                          (["--doctor", "--resume"], 2), (["--doctor", "--nonsense"], 2),
                          (["--json", "true"], 125)):
        status, out, err = setup.run([setup.ckpt, *words], session.cwd)
        if status != wanted or out or len(err.splitlines()) not in (1, 2):
            raise harness.Failure(f"{words}: {status} {out!r} {err!r}")
    status, out, err = setup.run([setup.ckpt, "--doctor", "nothing-here"], session.cwd)
    if status != 1 or err or "no such file" not in out:
        raise harness.Failure(f"{status} {out!r} {err!r}")


def body(setup):
    def both(function, *words):
        return [(f"{' '.join(words) or function.__name__}, {'started by ckpt' if started else 'bare'}",
                 lambda f=function, w=words, s=started: f(setup, *w, s)) for started in (False, True)]

    sampled = [case for name in GOOD for case in both(good, name)]
    sampled += [case for kind in refuse.KINDS for case in both(refused, kind)]
    held = [case for name in HOLDS for case in both(holds, name)]
    if not setup.options.full:
        sampled = setup.random.sample(sampled, 12)
        held = setup.random.sample(held, 10)
    cases = sampled + held + both(quiet) + both(traced) + both(seccomp) + both(not_dumpable)
    cases += [(f.__name__.replace("_", " "), lambda f=f: f(setup)) for f in
              (ignored, stopped, seccomp_of_thread, other_user, no_process, limits, names, space, namespaces,
               restarted, restless, touches_nothing, triggers, images, no_directory, damaged, machine, identity,
               usage)]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true", help="everything, not a sample")
    sys.exit(harness.main(made, body))
