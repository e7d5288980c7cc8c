#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""kill -9 of the program, of the helper or of both at random moments of a checkpoint whose image takes
a while to write, and of the processes of a restart. The image made before is whole, nothing is left beside
it by who survives, the program (when it lives) says in one line why and goes on while its threads check
their own sums, and its death is seen at once: by its parent, by readers of its pipes, by whoever waits for
its locks. A restart that was killed leaves nobody and changes nothing: the next one goes on. 90 kills, or
1,000 with --full."""

import fcntl
import os
import re
import statistics
import sys
import threading
import time

import harness

# Threads, and MiB, of tests/victims/everything.cpp.
THREADS, SIZE = "3", "96"
RESTARTED = "12"
PARTIAL = ".image.ckpt.ckpt-partial"


def helper_of(program):
    """The process that shares the program's memory: it is nobody's child, but it has a name."""
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) > program:
            try:
                with open(f"/proc/{entry}/comm") as comm:
                    if comm.read() == "ckpt-helper\n" and os.readlink(
                            f"/proc/{entry}/exe") == os.readlink(f"/proc/{program}/exe"):
                        return int(entry)
            except OSError:
                pass
    return None


def lock_fell(path, seconds):
    """When the lock on a file could be had."""
    end = time.monotonic() + seconds
    with open(path) as file:
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return time.monotonic_ns()
            except BlockingIOError:
                time.sleep(0.0005)
    raise harness.Failure(f"{path.name} stays locked")


class Kills:
    def __init__(self, setup):
        self.setup = setup
        self.session = harness.Session(setup)
        self.late = {"waitpid": [], "end of file": [], "lock": []}
        self.hits = {}
        self.argv = self.session.victim("everything", THREADS, SIZE)
        self.start()

    def start(self):
        self.session.go_on()
        self.process = self.session.start(self.argv, "-c")
        self.said = ""

    @property
    def image(self):
        return self.session.image

    def good(self):
        begun = time.monotonic()
        harness.checkpoint_and_continue(self.process, self.image)
        took = time.monotonic() - begun
        harness.check_image(self.setup, self.image)     # nothing beside it either
        return took

    def verify(self, what):
        status, _, err = self.setup.run([self.setup.readckpt, "verify", self.image],
                                        self.session.cwd)
        if status != 0:
            raise harness.Failure(f"{what}: the image under the name is not whole: {err!r}")

    def partial(self):
        return (self.session.cwd / PARTIAL).exists()

    def kill(self, who, delay):
        """One checkpoint, one death; what must hold for each kind."""
        label = f"{who} killed {delay * 1000:.1f} ms after the trigger"
        before = harness.identity(self.image)
        self.process.signal(harness.TRIGGER)
        helper = None
        if who != "program":
            end = time.monotonic() + 0.2
            while helper is None and time.monotonic() < end:
                helper = helper_of(self.process.pid)
        time.sleep(delay)
        hit = self.partial()
        fell = []
        if who != "helper":
            watcher = threading.Thread(
                target=lambda: fell.append(lock_fell(self.session.cwd / "guarded", 5)))
            watcher.start()
            killed = time.monotonic_ns()
            os.kill(self.process.pid, 9)
        if helper:
            harness.kill_quietly(helper)
        self.hits[who, hit] = self.hits.get((who, hit), 0) + 1
        if who == "helper":
            return self.survived(label, before)
        if self.process.wait(5) != -9:
            raise harness.Failure(f"{label}: it ended with {self.process.status}")
        dead = time.monotonic_ns()
        self.check_sums(label, self.process.out.all(5))
        watcher.join()
        if not fell:
            raise harness.Failure(f"{label}: its lock stays")
        for what, at in (("waitpid", dead), ("end of file", self.process.out.closed_at),
                         ("lock", fell[0])):
            self.late[what].append((at - killed) / 1e6)
        self.setup.check_nothing_left()         # the helper ends when its disk lets it
        if who == "program" and self.partial():
            raise harness.Failure(f"{label}: a partial file is left")
        if harness.identity(self.image) != before:
            self.verify(label)
        left = self.partial()
        self.start()
        if left:
            self.good()     # sweeps it
            self.hits["swept"] = self.hits.get("swept", 0) + 1

    @staticmethod
    def check_sums(label, said):
        if said != b"ready\n":
            raise harness.Failure(f"{label}: the program says {said!r}")

    def survived(self, label, before):
        """The program goes on, and says why there is no image when there is none."""
        self.process.wait_until(
            lambda: harness.identity(self.image) != before or self.said_more(),
            f"{label}: an image or a line")
        self.process.wait_until(lambda: not self.partial(), f"{label}: the partial file is removed")
        time.sleep(0.02)
        if harness.identity(self.image) == before:
            harness.expect_line(label, self.said_more(), "helper", "goes on")
        else:
            self.verify(label)
        self.said += self.said_more()
        worked = self.process.work()
        self.process.wait_until(lambda: self.process.work() > worked + 0.01, "it goes on working")
        self.check_sums(label, self.process.out.seen())
        self.setup.check_nothing_left()

    def said_more(self):
        return self.process.err.seen().decode(errors="replace")[len(self.said):]

    def end(self):
        self.verify("at the end")
        self.session.end(output=b"ready\nok\n", stderr=self.said)


def family_of(pid):
    """A process and what it has started, directly and further down."""
    return [pid] + [below for child in harness.children_of(pid) for below in family_of(child)]


def whole_restart(session):
    """A restart that nobody disturbs; gives how long it takes until the program has its handlers."""
    begun = time.monotonic()
    session.restart()
    took = time.monotonic() - begun
    session.output = b""
    session.end(output=b"ok\n", what="a restart after kills")
    session.go_on()
    return took


def kills_of_a_restart(setup, count, often):
    """Stand-in, guardian or program dies at a random moment of a restart: the program goes on another
    way, or nobody is left."""
    session = harness.Session(setup, "restart")
    session.start(session.victim("everything", THREADS, RESTARTED))
    session.checkpoint()
    kept = {name: (session.cwd / name).read_bytes() for name in (session.IMAGE, "log", "guarded")}
    identity = harness.identity(session.image)
    took = statistics.median(whole_restart(session) for _ in range(3))
    outcomes = {}
    for number in range(count):
        process = session.restart(armed=False)
        if number % 4 == 0:
            process.wait_armed()
        time.sleep(setup.random.uniform(0, took))
        family = family_of(process.pid)
        struck = family[min(number // 4 % 3, len(family) - 1)]
        harness.kill_quietly(struck)
        if not process.ended(0.5):
            session.stop()
        status, out, err = process.wait(10), process.out.all(), process.stderr()
        label = f"process {family.index(struck) + 1} of {len(family)} killed: {status} {out!r} {err!r}"
        if (status, out, err) not in ((-9, b"", ""), (0, b"ok\n", "")):
            raise harness.Failure(label)
        end = time.monotonic() + 3
        while left := [pid for pid in family[1:] if re.search(
                r"^State:\s*[^ZX\s]", harness.read_proc(pid, "status"), re.M)]:
            if time.monotonic() > end:
                raise harness.Failure(f"{label}; left:\n" + harness.describe(left[0]))
            time.sleep(0.005)
        setup.check_nothing_left()
        session.go_on()
        for name, content in kept.items():
            if (session.cwd / name).read_bytes() != content:
                raise harness.Failure(f"{label}: {name} has changed")
        if harness.identity(session.image) != identity:
            raise harness.Failure(f"{label}: the image is another file")
        if number % often == often - 1:
            whole_restart(session)
        key = (family.index(struck) + 1, len(family), status)
        outcomes[key] = outcomes.get(key, 0) + 1
    print(f"a restart takes {took * 1000:.0f} ms; kills of it, as (who, of how many, status): {outcomes}")


def body(setup):
    setup.random.seed(setup.seed)
    count, of_restarts, often = (600, 400, 1) if setup.options.full else (30, 60, 10)
    print(f"seed {setup.seed}")
    run = Kills(setup)
    took = statistics.median(run.good() for _ in range(3))
    for number in range(count):
        who = ("program", "helper", "both")[number % 3]
        run.kill(who, setup.random.uniform(0, took * 1.05))
    run.good()
    run.end()
    kills_of_a_restart(setup, of_restarts, often)
    spread = {what: (statistics.median(ms), max(ms)) for what, ms in run.late.items()}
    print(f"a checkpoint takes {took * 1000:.0f} ms; deaths, and whether while the file was there: "
          f"{run.hits}")
    print("seen after (median, worst): " + ", ".join(
        f"{what} {m:.1f} ms, {w:.1f} ms" for what, (m, w) in spread.items()))
    if sum(n for key, n in run.hits.items() if key != "swept" and key[1]) < count // 4:
        raise harness.Failure("hardly a death came while the image was written")


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true")
    sys.exit(harness.main(made, body))
