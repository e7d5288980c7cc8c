#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One real program through checkpoint, exit and restart, over and over, at random moments: its
output, its files and its status are those of an undisturbed run, byte for byte."""

import os
import sys
import threading
import time

import harness
import programs
import threaded

ALL = {**programs.ALL, **threaded.ALL}


class Outcome:
    """What a run leaves: status, output and files; and how long it worked."""

    def __init__(self, status, stdout, files, work):
        self.status, self.stdout, self.files, self.work = status, stdout, files, work


class Rounds:
    """Runs one program of programs.py undisturbed and then through checkpoint rounds."""

    IMAGE = "image.ckpt"
    LEAST = 0.05        # a leg with less of the program's work than this does not count

    def __init__(self, setup, program, stdout, rounds, seconds, hijacked=False):
        self.setup, self.program = setup, program
        self.to_file = stdout == "file"
        self.rounds, self.seconds = rounds, seconds
        self.limit = 60 + 30 * seconds
        self._pipe = None
        self.hijacked = hijacked

    # One leg: from a start or restart to the next checkpoint or the end.
    def _leg(self, argv, cwd, first):
        stdout = None
        if first and self.to_file:
            stdout = os.open(cwd / "stdout.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            self.setup.give(cwd / "stdout.txt")
        stdin = stderr = None
        close = []
        if self.program.noisy:
            stderr = os.open("/dev/null", os.O_WRONLY)
            close.append(stderr)
        if self.program.stdin_pipe:
            stdin = self._pipe
        elif self.program.stdin and first:
            stdin = os.open(cwd / self.program.stdin, os.O_RDONLY)
            close.append(stdin)
        try:
            return self.setup.start(argv, cwd, stdin=stdin, stdout=stdout, stderr=stderr,
                                    timeout=self.limit, env=self.program.environment)
        finally:
            for fd in close + ([stdout] if stdout is not None else []):
                os.close(fd)

    def _open_pipe(self, cwd):
        """Feeds a program's standard input; the reading end is handed to every leg."""
        if not self.program.stdin_pipe:
            return
        self._pipe, write = os.pipe()
        data = (cwd / self.program.stdin).read_bytes()

        def feed():
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(write, view[:65536]):]
            except OSError:
                pass
            os.close(write)
        threading.Thread(target=feed, daemon=True).start()

    def _close_pipe(self):
        if self._pipe is not None:
            os.close(self._pipe)
            self._pipe = None

    def _collect(self, cwd, status, pieces, work):
        stdout = (cwd / "stdout.txt").read_bytes() if self.to_file else b"".join(pieces)
        stdout = self.program.printed(stdout)
        files = {}
        for name in self.program.outputs:
            path = cwd / name
            files[name] = self.program.content(path) if path.exists() else None
        return Outcome(status, stdout, files, work)

    def undisturbed(self):
        """Measures the program alone and scales it to the seconds that were asked for."""
        scale = self.program.scale
        for attempt in range(4):
            cwd = self.setup.directory("undisturbed")
            self.program.prepare(cwd, scale)
            self.setup.give(cwd)
            self._open_pipe(cwd)
            process = self._leg(self.program.argv(cwd, scale), cwd, True)
            status = process.wait()
            usage = process.usage
            work = usage.ru_utime + usage.ru_stime
            if status != self.program.status:
                raise harness.Failure(f"undisturbed: status {status}, not {self.program.status}: "
                              f"{process.stderr()!r}")
            if process.stderr():
                raise harness.Failure(f"undisturbed: stderr has {process.stderr()!r}")
            pieces = [process.out.all()] if process.out else []
            self._close_pipe()
            if attempt == 3 or 0.6 * self.seconds <= work <= 1.6 * self.seconds:
                break
            factor = min(20.0, max(0.05, self.seconds / max(work, 0.02)))
            scale = max(1, round(scale * factor ** self.program.exponent))
        self.scale = scale
        self.reference = self._collect(cwd, status, pieces, work)
        self.work = work
        print(f"{self.program.name}: undisturbed {work:.2f} s of CPU at scale {scale}, "
              f"{len(self.reference.stdout)} bytes of output")

    def _moments(self):
        """How much work each leg but the last does, as fractions of the whole."""
        legs = self.rounds + 1
        least = min(0.08, 0.6 / legs)
        free = 0.86 - least * legs
        cuts = sorted(self.setup.random.random() for _ in range(legs - 1))
        parts = [b - a for a, b in zip([0.0] + cuts, cuts + [1.0])]
        return [least + part * free for part in parts][:-1]

    def disturbed(self):
        cwd = self.setup.directory("disturbed")
        self.program.prepare(cwd, self.scale)
        self.setup.give(cwd)
        image = cwd / self.IMAGE
        self._open_pipe(cwd)
        argv = self.program.argv(cwd, self.scale)
        if not self.hijacked:
            argv = [self.setup.ckpt, "-n", self.IMAGE, *argv]
        pieces, total = [], 0.0
        for number, part in enumerate(self._moments(), 1):
            process = self._leg(argv, cwd, number == 1)
            if self.hijacked and number == 1:
                self._hijack(process, part * self.work * self.setup.random.random(), cwd)
            self._work_for(process, part * self.work, f"round {number}")
            worked = process.work()
            harness.checkpoint_and_exit(process, image, f"round {number}", self.limit)
            if worked is None or worked < self.LEAST * self.work:
                raise harness.Ended(process.status)
            total += worked
            if process.out:
                pieces.append(process.out.all())
                if self.to_file and pieces[-1]:
                    raise harness.Failure(f"round {number}: output went to the pipe of the one who "
                                  f"restarts and not to its file: {pieces[-1][:200]!r}")
            harness.check_image(self.setup, image)
            argv = [f"./{self.IMAGE}"]
        process = self._leg(argv, cwd, False)
        status = process.wait()
        worked = process.usage.ru_utime + process.usage.ru_stime
        if process.out:
            pieces.append(process.out.all())
        if process.stderr():
            raise harness.Failure(f"last leg: stderr has {process.stderr()!r} (status {status})")
        self._close_pipe()
        if worked < self.LEAST * self.work and status == self.program.status:
            raise harness.Ended(status)
        return self._collect(cwd, status, pieces, total + worked)

    def _hijack(self, process, seconds, cwd):
        """The program was started without ckpt: at some moment the agent comes into it."""
        self._work_for(process, seconds, "before it is hijacked")
        status, out, err = self.setup.run([self.setup.ckpt, "-p", process.pid, "-n", self.IMAGE], cwd)
        if status != 0 or out or err:
            if process.ended(0.1):
                raise harness.Ended(process.status)
            raise harness.Failure(f"ckpt -p: status {status}, {out!r}, {err!r}")

    def _work_for(self, process, seconds, what):
        end = time.monotonic() + self.limit
        while True:
            done = process.work()
            if process.ended(self.setup.random.uniform(0.0005, 0.004)):
                text = process.stderr()
                if text or process.status != self.program.status:
                    raise harness.Failure(f"{what}: ended with {process.status} before its checkpoint; "
                                  f"stderr: {text!r}")
                raise harness.Ended(process.status)
            if done is not None and done >= seconds:
                return
            if time.monotonic() > end:
                raise harness.Failure(process.hang(f"{what}: does not work ({done} of {seconds:.2f} s)"))

    def compare(self, got):
        wanted = self.reference
        faults = []
        if got.status != wanted.status:
            faults.append(f"exit status {got.status} instead of {wanted.status}")
        faults.append(harness.difference("standard output", wanted.stdout, got.stdout))
        for name, content in wanted.files.items():
            if (content is None) != (got.files[name] is None):
                faults.append(f"{name}: there in one run only")
            elif content is not None:
                faults.append(harness.difference(name, content, got.files[name]))
        faults = [fault for fault in faults if fault]
        if faults:
            raise harness.Failure("\n".join(faults))

    def run(self):
        """Until all rounds counted; a run in which one did not is started afresh, a few times."""
        self.undisturbed()
        for attempt in range(5):
            try:
                got = self.disturbed()
            except harness.Ended as ended:
                print(f"a round did not count (status {ended}); starting afresh")
                self.setup.kill_all()
                self._close_pipe()
                continue
            self.compare(got)
            self.setup.check_nothing_left()
            print(f"{self.program.name}: {self.rounds} rounds, {got.work:.2f} s of CPU; identical")
            return
        raise harness.Failure("the program always ended before its last checkpoint")


def body(setup):
    options = setup.options
    program = ALL[options.program]().find(setup)
    repeats, seconds = (3, 6.0) if options.full else (1, 2.4)
    rounds = Rounds(setup, program, options.stdout, options.rounds, options.seconds or seconds,
                    options.hijack)
    for _ in range(repeats):
        rounds.run()


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--program", required=True, choices=sorted(ALL))
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--stdout", choices=("file", "pipe"), default="file")
    made.add_argument("--seconds", type=float, help="how long the program works undisturbed")
    made.add_argument("--full", action="store_true", help="longer programs, three repeats")
    made.add_argument("--hijack", action="store_true", help="start it without ckpt (ckpt -p PID)")
    sys.exit(harness.main(made, body))
