# SPDX-License-Identifier: MIT
"""What stands in the way of whoever asks something of a process from outside, by injection or for a
checkpoint: each is one line, whatever was asked.

begin(session, text) starts a Python program as the request wants it, request(session) must succeed, and
refused(session, *words, pid=None) must end with one line in which those words stand."""

import contextlib
import ctypes
import os
import signal

import harness

WAITING = "ready()\nwait()\nprint('ok')\n"


@contextlib.contextmanager
def tracer_of(setup, process):
    """Another process that holds it by ptrace."""
    libc = ctypes.CDLL(None, use_errno=True)
    seize = 0x4206
    tracer = os.fork()
    if tracer == 0:
        if setup.drops:
            os.setresgid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
            os.setresuid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
        libc.ptrace.argtypes = [ctypes.c_long] * 4
        os._exit(0 if libc.ptrace(seize, process.pid, 0, 0) == 0 and signal.pause() is None else 1)
    try:
        process.wait_until(
            lambda: f"TracerPid:\t{tracer}" in harness.read_proc(process.pid, "status"), "a tracer")
        yield tracer
    finally:
        os.kill(tracer, signal.SIGKILL)
        os.waitpid(tracer, 0)


class Asking:
    def __init__(self, setup, begin, request, refused):
        self.setup, self.begin, self.request, self.refused = setup, begin, request, refused

    def cases(self):
        return [(name.replace("_", " "), getattr(self, name)) for name in
                ("no_process", "zombie", "traced", "other_user", "strict_seccomp")]

    def no_process(self):
        session = harness.Session(self.setup)
        self.begin(session, WAITING)
        self.refused(session, "no such process", pid=(1 << 22) - 3)
        if "kthreadd" in harness.read_proc(2, "comm"):
            self.refused(session, "thread of the kernel", pid=2)
        session.end()

    def zombie(self):
        """A child that has ended; its parent is another matter."""
        session = harness.Session(self.setup)
        self.begin(session, "if os.fork() == 0: os._exit(0)\n" + WAITING)
        child = harness.children_of(session.process.pid)[0]
        session.process.wait_until(lambda: "Z" in harness.read_proc(child, "stat"), "a zombie")
        self.refused(session, "zombie", pid=child)
        session.end()

    def traced(self):
        session = harness.Session(self.setup)
        self.begin(session, WAITING)
        with tracer_of(self.setup, session.process) as tracer:
            self.refused(session, f"traced by process {tracer}")
        self.request(session)
        session.end()

    def other_user(self):
        if os.geteuid() != 0 or not self.setup.drops:
            raise harness.Skip("needs root's process and an ordinary user who asks")
        session = harness.Session(self.setup)
        self.setup.drops = False
        try:
            self.begin(session, WAITING)
        finally:
            self.setup.drops = True
        self.refused(session, "not permitted", "root")
        session.end()

    def strict_seccomp(self):
        session = harness.Session(self.setup)
        self.begin(
            session, "import ctypes\nready()\nlibc = ctypes.CDLL(None)\nlibc.prctl(22, 1, 0, 0, 0)\n"
            "while True: pass\n")
        session.process.wait_until(
            lambda: "Seccomp:\t1" in harness.read_proc(session.process.pid, "status"), "strict seccomp")
        self.refused(session, "strict seccomp")
        if session.process.ended(0.2):
            raise harness.Failure(f"it was killed: {session.process.status}")
        session.process.signal(signal.SIGKILL)
        session.process.wait()
