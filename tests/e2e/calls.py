#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""System calls that sleep when the trigger comes: the program goes on, or is restarted, or the
checkpoint is refused because it holds what cannot be saved; the call answers as if nothing had
been. Here is the other side of the victims waits_*: whoever they wait for."""

import ctypes
import fcntl
import os
import pty
import struct
import sys
import termios
import threading
import time
import tty

import harness

LIBC = harness.LIBC
IPC_CREAT, IPC_RMID = 0o1000, 0
IPC_NOWAIT = 0o4000
F_OFD_SETLK, F_OFD_SETLKW = 37, 38


class Peer:
    """Whoever the victim waits for. This one is nobody; its standard input stays silent."""

    word = None     # for the victim's command line

    def __init__(self, setup, cwd):
        self.setup, self.cwd = setup, cwd
        self.records = 0
        self.child_end, self.own_end = self.open()

    def open(self):
        return os.pipe()

    def tell(self):
        """One record, where there is somebody who reads them."""

    def record(self):
        self.records += 1
        return b"%07d\n" % (self.records - 1)

    def pause(self):
        """Nothing of the victim's may be locked while it is restarted."""

    def resume(self):
        """The victim runs."""

    def close(self):
        os.close(self.child_end)
        os.close(self.own_end)


class Feeder(Peer):
    def tell(self):
        os.write(self.own_end, self.record())


class Terminal(Feeder):
    def open(self):
        master, slave = pty.openpty()
        tty.setraw(slave)
        mode = termios.tcgetattr(slave)
        mode[3] |= termios.ICANON
        termios.tcsetattr(slave, termios.TCSANOW, mode)
        return slave, master


class Worker(Peer):
    """A peer with a thread; work() is one step, and what goes wrong in it is a failure."""

    def __init__(self, setup, cwd):
        super().__init__(setup, cwd)
        self.over = False
        self.wrong = None
        self.gate = threading.Lock()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.over:
                with self.gate:
                    self.work()
                time.sleep(0.003)
        except (OSError, harness.Failure) as error:
            self.wrong = error

    def close(self):
        self.over = True
        os.close(self.child_end)
        self.thread.join(20)
        os.close(self.own_end)
        if self.wrong:
            raise harness.Failure(f"the other side: {self.wrong}")


class Drain(Worker):
    """Reads slowly what the victim writes to its standard input, a pipe, and compares."""

    count = 0

    def open(self):
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        return writing, reading

    def work(self):
        try:
            got = os.read(self.own_end, 24000)
        except BlockingIOError:
            return
        for at in range(0, len(got), 251):
            part = got[at:at + 251]
            first = (self.count + at) % 251
            if part != bytes((first + i) % 251 for i in range(len(part))):
                raise harness.Failure(f"bytes {self.count + at} and on are lost or doubled")
        self.count += len(got)

    def close(self):
        super().close()
        if self.count < 100_000:
            raise harness.Failure(f"only {self.count} bytes have come")


class Fifo(Peer):
    """Opens the fifo for an instant, when somebody waits in open."""

    paused = False

    def __init__(self, setup, cwd):
        super().__init__(setup, cwd)
        self.path = cwd / "fifo"
        os.mkfifo(self.path)
        setup.give(self.path)

    def pause(self):
        self.paused = True

    def resume(self):
        self.paused = False

    def tell(self):
        end = time.monotonic() + 5
        while not self.paused and time.monotonic() < end:
            try:
                fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:
                time.sleep(0.002)
                continue
            os.write(fd, self.record())
            os.close(fd)
            return
        if not self.paused:
            raise harness.Failure("nobody opens the fifo")


class Message(ctypes.Structure):
    _fields_ = [("type", ctypes.c_long), ("text", ctypes.c_char * 4096)]


class Queue(Peer):
    def __init__(self, setup, cwd):
        self.queue = LIBC.msgget(0, IPC_CREAT | 0o666)
        if self.queue < 0:
            raise harness.Skip("no System V message queues here")
        self.word = str(self.queue)
        super().__init__(setup, cwd)

    def tell(self):
        message = Message(1, self.record())
        LIBC.msgsnd(self.queue, ctypes.byref(message), 8, 0)

    def close(self):
        LIBC.msgctl(self.queue, IPC_RMID, None)
        super().close()


class SlowQueue(Worker):
    """Takes messages out of a queue that is full."""

    def __init__(self, setup, cwd):
        self.queue = LIBC.msgget(0, IPC_CREAT | 0o666)
        if self.queue < 0:
            raise harness.Skip("no System V message queues here")
        self.word = str(self.queue)
        super().__init__(setup, cwd)

    def work(self):
        message = Message()
        if LIBC.msgrcv(self.queue, ctypes.byref(message), 4096, 0, IPC_NOWAIT) < 0:
            return
        wanted = self.record()[:7]
        if message.text != wanted:
            raise harness.Failure(f"message {message.text!r} instead of {wanted!r}")

    def close(self):
        super().close()
        LIBC.msgctl(self.queue, IPC_RMID, None)
        if self.records < 10:
            raise harness.Failure(f"only {self.records} messages have come")


class Semaphore(Peer):
    def __init__(self, setup, cwd):
        self.set = LIBC.semget(0, 1, IPC_CREAT | 0o666)
        if self.set < 0:
            raise harness.Skip("no System V semaphores here")
        self.word = str(self.set)
        super().__init__(setup, cwd)

    def tell(self):
        post = ctypes.create_string_buffer(struct.pack("Hhh", 0, 1, 0))
        LIBC.semop(self.set, post, 1)

    def close(self):
        LIBC.semctl(self.set, 0, IPC_RMID)
        super().close()


class IdleSemaphore(Semaphore):
    def tell(self):
        """The victim waits in vain."""


class Lock(Worker):
    """Holds a lock most of the time, and says so in the locked file."""

    paused = False

    def __init__(self, setup, cwd):
        path = cwd / "lock"
        path.write_bytes(b" ")
        setup.give(path)
        self.file = os.open(path, os.O_RDWR)
        super().__init__(setup, cwd)

    def take(self):
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def leave(self):
        fcntl.flock(self.file, fcntl.LOCK_UN)

    def work(self):
        self.take()
        os.pwrite(self.file, b"h", 0)
        time.sleep(0.03)
        os.pwrite(self.file, b" ", 0)
        self.leave()

    def pause(self):
        self.gate.acquire()
        self.paused = True

    def resume(self):
        if self.paused:
            self.gate.release()
        self.paused = False

    def close(self):
        super().close()
        os.close(self.file)


class RangeLock(Lock):
    def take(self):
        fcntl.lockf(self.file, fcntl.LOCK_EX)

    def leave(self):
        fcntl.lockf(self.file, fcntl.LOCK_UN)


class DescriptionLock(Lock):
    def change(self, kind):
        fcntl.fcntl(self.file, F_OFD_SETLKW, struct.pack("hhqqixxxx", kind, 0, 0, 0, 0))

    def take(self):
        self.change(fcntl.F_WRLCK)

    def leave(self):
        self.change(fcntl.F_UNLCK)


# What each victim waits for; those of `refused` hold what cannot be saved, most of the time.
GROUPS = {
    "timed": ("waits_timed", {
        "clock_nanosleep": Peer, "nanosleep_in_place": Peer, "futex_bitset": Peer,
        "futex_waitv": Peer, "syscall_futex": Peer, "syscall_nanosleep": Peer,
        "number_in_register": Peer, "number_on_stack": Peer, "number_far_before": Peer,
        "number_by_jump": Peer, "epoll_wait": Peer, "epoll_pwait": Peer, "epoll_pwait2": Peer,
        "read_socket": Peer, "recv": Peer, "recvmsg": Peer, "recvmmsg": Peer,
        "semtimedop": IdleSemaphore}),
    "alarm": ("waits_alarm", dict.fromkeys(
        ("pause", "read", "poll", "futex", "nanosleep", "sigwaitinfo", "sigsuspend", "ppoll",
         "sigsuspend_busy"), Peer)),
    "woken": ("waits_woken", {
        "readv": Feeder, "read_terminal": Terminal, "poll_for_ever": Feeder,
        "select_for_ever": Feeder, "open_fifo": Fifo, "msgrcv": Queue, "msgsnd": SlowQueue,
        "semop": Semaphore, "write": Drain, "writev": Drain, "sendfile": Drain, "splice": Drain,
        "flock": Lock, "setlkw": RangeLock, "ofd_setlkw": DescriptionLock}),
    "refused": ("waits_timed", dict.fromkeys(
        ("accept", "connect", "mq_timedreceive", "mq_timedsend", "io_getevents", "poll_filtered"),
        Peer)),
    # A pair of sockets that was full may have room after a restart.
    "full": ("waits_timed", {"send": Peer, "write_socket": Peer}),
    "musl": ("waits_musl", dict.fromkeys(
        ("poll", "ppoll", "select", "nanosleep", "clock_nanosleep", "sigtimedwait"), Peer)),
    "child": ("waits_woken", {"wait4": Peer, "waitid": Peer}),
}
REFUSED = ("refused", "child")


class Run:
    """One victim through its rounds."""

    def __init__(self, setup, program, call, peer, options):
        self.setup, self.call = setup, call
        self.cwd = setup.directory("work")
        self.image = self.cwd / "victim.ckpt"
        self.peer = peer(setup, self.cwd)
        self.said = ""
        self.output = b""
        path = setup.victim(program, self.cwd)
        words = [call] + ([self.peer.word] if self.peer.word else [])
        self.start([setup.ckpt, *options, "-n", "victim.ckpt", path, self.cwd / "stop", *words])
        if not self.process.out.wait_for(b"ready\n", 20) and self.process.ended(1):
            text = self.process.out.all().decode()
            if self.process.status == harness.SKIPPED:
                raise harness.Skip(f"{call}: {text.strip()}")
        self.process.wait_output(b"ready\n")

    def start(self, argv):
        self.process = self.setup.start(argv, self.cwd, stdin=self.peer.child_end)
        self.process.wait_armed()
        self.said = ""
        self.peer.resume()

    def moment(self):
        chosen = self.setup.random
        time.sleep(chosen.choice([chosen.uniform(0, 0.005), chosen.uniform(0, 0.03),
                                  chosen.uniform(0.02, 0.09)]))
        if chosen.random() < 0.7:
            self.peer.tell()

    def checkpoint(self):
        """'ended', 'image' or 'refused', whichever the trigger led to."""
        before = harness.identity(self.image)
        self.process.signal(harness.TRIGGER)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            stderr = self.process.err.seen().decode()
            if stderr != self.said and stderr.endswith("\n"):
                harness.expect_line(self.call, stderr[len(self.said):], "no checkpoint of process")
                self.said = stderr
                return "refused"
            if self.process.ended(0.002):
                if harness.identity(self.image) == before or self.process.status != 0:
                    raise harness.Failure(f"{self.call}: it ended with {self.process.status}: "
                                          f"{self.process.out.all().decode()}{stderr}")
                return "ended"
            if harness.identity(self.image) != before:
                time.sleep(0.005)
                if not self.process.ended():
                    return "image"
        raise harness.Failure(self.process.hang("answers no trigger"))

    def finish(self):
        (self.cwd / "stop").touch()
        end = time.monotonic() + 20
        while not self.process.ended(0.05):
            if time.monotonic() > end:
                raise harness.Failure(f"{self.call}: " + self.process.hang("does not end"))
            try:
                self.peer.tell()
            except harness.Failure:
                pass        # it may just have ended
        self.output += self.process.out.all()
        if self.process.status != 0 or self.output != b"ready\nok\n":
            raise harness.Failure(f"{self.call}: status {self.process.status}, it says:\n"
                                  f"{self.output.decode(errors='replace')}")
        if self.process.stderr() != self.said:
            raise harness.Failure(f"{self.call}: stderr has {self.process.stderr()!r}")
        self.peer.close()

    def exit_rounds(self, rounds):
        while rounds > 0:
            self.moment()
            if self.checkpoint() == "refused":
                continue
            self.output += self.process.out.all()
            harness.check_image(self.setup, self.image)
            self.peer.pause()
            self.peer.tell()        # while nobody runs
            self.start(["./victim.ckpt"])
            rounds -= 1
        self.moment()
        self.finish()

    def continue_rounds(self, rounds, refused):
        seen = 0
        for _ in range(rounds):
            self.moment()
            seen += self.checkpoint() == "refused"
        if refused and seen == 0:
            raise harness.Failure(f"{self.call}: no checkpoint was refused")
        self.moment()
        self.finish()


def case(setup, group, program, call, peer):
    # What must fall into the checkpoint itself needs more of them.
    rounds = setup.options.rounds * (2 if group == "alarm" else 1)
    if group not in REFUSED and group != "full":
        Run(setup, program, call, peer, []).exit_rounds(rounds)
    Run(setup, program, call, peer, ["-c"]).continue_rounds(rounds, group in REFUSED)


def body(setup):
    chosen = setup.options.group
    program, calls = GROUPS[chosen]
    if chosen == "musl" and not (setup.victims / program).exists():
        raise harness.Skip("musl-gcc was not there when the tests were built")
    setup.random.seed(setup.seed)
    harness.run_cases(setup, [
        (call, lambda call=call, peer=peer: case(setup, chosen, program, call, peer))
        for call, peer in calls.items()])
    setup.check_nothing_left()


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--group", required=True, choices=GROUPS)
    made.add_argument("--rounds", type=int, default=4)
    sys.exit(harness.main(made, body))
