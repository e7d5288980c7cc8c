#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""ckpt --resume: one command line that starts a program or goes on from its image. What becomes of
the image, bad and foreign ones, two of them at once, and who is told what on a terminal."""

import os
import shutil
import signal
import sys
import time

import harness
import job_control

COUNT = """
import signal
def total():
    with open("count") as file: return int(file.read() or 0)
ready()
here = 0
while not os.path.exists("stop"):
    here += 1
    with open("new", "w") as file: file.write(str(here))
    os.rename("new", "count")
    time.sleep(0.004)
print(sys.argv[1:], here, flush=True)
os._exit(int(open("stop").read() or 0))
"""
NAME = "job.ckpt"


class Job(harness.Session):
    IMAGE = NAME

    def __init__(self, setup, name="work", script=COUNT):
        super().__init__(setup, name)
        self.words = self.script(script) + ["a", "b c"]

    def resume(self, *options, words=None, wait=True, **more):
        self.process = self.setup.start(
            [self.setup.ckpt, "--resume", "-n", NAME, *options, *(words or self.words)], self.cwd, **more)
        if wait:
            self.works()
        return self.process

    def count(self):
        try:
            return int((self.cwd / "count").read_text() or 0)
        except (FileNotFoundError, ValueError):
            return 0

    def works(self):
        """Until the program has counted on."""
        before = self.count()
        self.process.wait_until(lambda: self.count() not in (before, 0), "it counts")

    def checkpointed(self, number=signal.SIGTSTP, status=0, stderr=""):
        """The signal, to ckpt alone, ends it by a checkpoint."""
        self.process.signal(number)
        got = self.process.wait()
        if got != status or self.process.stderr() != stderr:
            raise harness.Failure(f"status {got}, not {status}; stderr {self.process.stderr()!r}")
        harness.check_image(self.setup, self.image)
        self.nothing_left()
        return self.count()

    def ended(self, status=0, image=False, code=""):
        (self.cwd / "stop").write_text(code)
        got = self.process.wait()
        if got != status or self.process.stderr():
            raise harness.Failure(f"status {got}, not {status}; stderr {self.process.stderr()!r}")
        if self.image.exists() != image:
            raise harness.Failure(f"the image is there: {self.image.exists()}")
        self.nothing_left()
        os.unlink(self.cwd / "stop")

    def nothing_left(self):
        left = [name for name in os.listdir(self.cwd) if "lock" in name or "partial" in name]
        if left:
            raise harness.Failure(f"left behind: {left}")

    def is_refused(self, *words, options=(), **more):
        process = self.resume(*options, wait=False, **more)
        status = process.wait()
        harness.expect_refusal("refusal", status, process.out.all().decode(), process.stderr(), *words)


def three_rounds(setup):
    job = Job(setup)
    last = 0
    for _ in range(4):
        job.resume()
        count = job.checkpointed()
        if count <= last:
            raise harness.Failure(f"{count} after {last}: it has begun anew")
        last = count
    job.resume()
    job.ended(7, code="7")
    if job.count() <= last:
        raise harness.Failure("it has begun anew")
    # And then from the beginning.
    job.resume()
    if job.count() > last:
        raise harness.Failure("it has not begun anew")
    job.ended()


def kept_as_done(setup):
    job = Job(setup)
    job.resume()
    job.checkpointed()
    job.resume("--keep-image")
    job.ended(3, code="3")
    harness.check_image(setup, job.cwd / (NAME + ".done"))


def killed(setup):
    job = Job(setup)
    job.resume()
    job.checkpointed()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        job.resume()
        job.process.signal(number)
        if job.process.wait() != -number:
            raise harness.Failure(f"{job.process.status}, not {-number}")
        harness.check_image(setup, job.image)
        job.nothing_left()


def program_killed(setup):
    job = Job(setup)
    job.resume()
    job.checkpointed()
    job.resume()
    child = [pid for pid in harness.children_of(job.process.pid)
             if harness.read_proc(pid, "comm") != "ckpt-witness\n"][0]
    os.kill(harness.program_behind(child), signal.SIGKILL)
    if job.process.wait() != -signal.SIGKILL:
        raise harness.Failure(f"{job.process.status}")
    harness.check_image(setup, job.image)
    job.nothing_left()


def parent_killed(setup):
    for rounds in range(4):
        job = Job(setup)
        job.resume()
        if rounds % 2 == 1:
            job.checkpointed()
            job.resume()
        os.kill(job.process.pid, signal.SIGKILL)
        job.process.wait()
        setup.check_nothing_left()
        harness.expect_line("line", job.process.stderr(), "was killed, and so was the program")
        job.nothing_left()
        job.resume()
        job.ended()


def torn(setup):
    job = Job(setup)
    job.resume()
    job.checkpointed()
    whole = job.image.read_bytes()
    cuts = [0, 1, 100, 511, 600, 4096, len(whole) // 2, len(whole) - 4096, len(whole) - 1]
    for number, cut in enumerate(cuts):
        job.image.write_bytes(whole[:cut])
        job.is_refused(NAME, "fresh-if-bad")
        if job.image.read_bytes() != whole[:cut]:
            raise harness.Failure("the refused image has changed")
        job.resume("--fresh-if-bad")
        job.works()
        (job.cwd / "stop").write_text("")
        job.process.wait()
        kept = f"{NAME}.bad" + (f".{number}" if number else "")
        harness.expect_line("line", job.process.stderr(), "starts afresh", kept.replace(".", "\\."))
        if (job.cwd / kept).read_bytes() != whole[:cut]:
            raise harness.Failure(f"{kept} is not what was bad")
        os.unlink(job.cwd / "stop")
    flipped = bytearray(whole)
    flipped[len(whole) * 2 // 3] ^= 1
    job.image.write_bytes(flipped)
    job.is_refused("damaged|checksum")
    job.image.write_bytes(whole)
    os.chmod(job.image, 0o600)  # copied without its permission to run
    setup.give(job.image)
    job.resume(env={"CKPT_FILES": "keep"})  # it may have had "new" open, which others have renamed since
    job.ended()


def other_commands(setup):
    job = Job(setup)
    job.resume()
    job.checkpointed()
    job.is_refused("python3.*script.py a 'b c'.*script.py a x", words=job.words[:-1] + ["x"])
    job.is_refused("command line is", words=job.words + ["more"])
    job.is_refused("busybox|sleep", words=["/bin/sleep", "100"])
    job.is_refused("command line is", options=("--fresh-if-bad",), words=job.words[:-1])
    if (job.cwd / (NAME + ".bad")).exists():
        raise harness.Failure("a good image was set aside")
    # The same program by another of its names.
    job.resume(words=["python3", *job.words[1:]])
    job.ended()


def scripts(setup):
    """Interpreters, with and without an argument, by a path, by PATH, by env and by the shell."""
    text = COUNT.replace("print(sys.argv[1:], here, flush=True)", "")
    for label, first in (("plain", "#!/usr/bin/python3\n"), ("argument", "#!/usr/bin/python3 -IS\n"),
                         ("env", "#!/usr/bin/env python3\n")):
        job = Job(setup, label)
        path = job.cwd / "bin" / "prog"
        path.parent.mkdir()
        path.write_text(first + harness.PRELUDE + text)
        os.chmod(path, 0o755)
        setup.give(job.cwd)
        environment = {"PATH": f"{path.parent}:/usr/bin:/bin"}
        job.resume(words=["bin/prog", "x"])
        job.checkpointed()
        job.is_refused("command line is", words=["bin/prog", "y"])
        job.resume(words=["prog", "x"], env=environment)
        job.checkpointed()
        job.resume(words=[path, "x"])
        job.ended()
    job = Job(setup, "shell")
    path = job.cwd / "prog"
    path.write_text("n=0\nwhile [ ! -e stop ]; do n=$((n+1)); echo $n >new; "
                    "read line <new; echo $n > count; done\nexit 4\n")
    os.chmod(path, 0o755)
    job.resume(words=["./prog", "x"])
    job.checkpointed()
    job.resume(words=["./prog", "x"])
    job.ended(4)


def two_at_once(setup):
    job = Job(setup)
    job.resume()
    first = job.process
    job.is_refused("in use by another", f"process {first.pid}\\b")
    job.process = first
    job.ended()
    job.resume()
    job.ended()


def started_again_at_once(setup):
    """Whoever sees ckpt die starts the line again before the witness has let go of the name."""
    job = Job(setup)
    job.resume()
    job.checkpointed()
    for _ in range(10):
        job.resume()
        # Its end takes a while, so that the name is still held.
        child = [pid for pid in harness.children_of(job.process.pid)
                 if harness.read_proc(pid, "comm") != "ckpt-witness\n"][0]
        program = harness.program_behind(child)
        os.kill(program, signal.SIGSTOP)
        os.kill(job.process.pid, signal.SIGKILL)
        job.process.wait()
    job.resume()
    job.ended()


def periodic(setup):
    """Images by the clock are removed at the end, too."""
    job = Job(setup)
    job.resume("-z", "40")
    job.process.wait_until(lambda: job.image.exists(), "an image")
    job.process.signal(signal.SIGKILL)
    job.process.wait()
    setup.check_nothing_left()
    count = job.count()
    job.resume(env={"CKPT_FILES": "keep"})  # as above
    first = harness.identity(job.image)
    job.process.wait_until(lambda: harness.identity(job.image) != first, "the next tick")
    (job.cwd / "stop").write_text("")
    if job.process.wait() != 0 or job.image.exists() or job.count() < count // 2:
        raise harness.Failure(f"{job.process.status}, {job.image.exists()}, {job.process.stderr()!r}")


def ended_by_its_own(setup):
    """The program's own trigger ends it: that is no end by itself."""
    job = Job(setup)
    job.resume("-a", "USR2", "--exit-code", "85")
    child = [pid for pid in harness.children_of(job.process.pid)
             if harness.read_proc(pid, "comm") != "ckpt-witness\n"][0]
    os.kill(child, signal.SIGUSR2)
    if job.process.wait() != 85:
        raise harness.Failure(f"{job.process.status}")
    harness.check_image(setup, job.image)
    job.resume("-a", "USR2", "--exit-code", "85")
    job.ended(0)


def cannot_start(setup):
    job = Job(setup)
    for words, status in ((["./absent"], 127), (["/"], 126)):
        process = job.resume(words=words, wait=False)
        if process.wait() != status or len(process.stderr().splitlines()) != 1:
            raise harness.Failure(f"{words}: {process.status}, {process.stderr()!r}")
        job.nothing_left()
    job.is_refused("%", options=("-n", "job%n.ckpt"))
    process = setup.start([setup.ckpt, "--keep-image", "true"], job.cwd)
    harness.expect_refusal("alone", process.wait(), "", process.stderr(), "only with --resume")


def interrupted_early(setup):
    """A signal while the image is read ends ckpt as it would have; nothing is left, and the image is."""
    job = Job(setup, script="held = os.urandom(200_000_000)\n" + COUNT)
    job.resume()
    job.checkpointed()
    for _ in range(3):
        process = job.resume(wait=False)
        process.wait_until(lambda: ".job.ckpt.ckpt-lock" in os.listdir(job.cwd), "the lock")
        process.signal(signal.SIGTERM)
        if process.wait() != -signal.SIGTERM or process.stderr():
            raise harness.Failure(f"{process.status} {process.stderr()!r}")
        job.nothing_left()
        harness.check_image(setup, job.image)


def asked_by_its_parent(setup):
    """ckpt -p of the parent's number means the program; its end so is no end by itself."""
    job = Job(setup)
    for _ in range(2):
        job.resume("--exit-code", "85")
        status, out, err = setup.run([setup.ckpt, "-p", job.process.pid, "--now", "-n", NAME], job.cwd)
        if (status, out, err) != (0, f"{job.image}\n", ""):
            raise harness.Failure(f"{status} {out!r} {err!r}")
        if job.process.wait() != 85:
            raise harness.Failure(f"{job.process.status} {job.process.stderr()!r}")
    job.resume()
    job.ended()


def a_pipe(setup):
    """Whoever reads the program's output sees its end with the program."""
    job = Job(setup)
    job.resume()
    job.ended()
    if b"'b c'" not in job.process.out.all():
        raise harness.Failure(f"{job.process.out.seen()!r}")


def in_shell(setup, body):
    job = Job(setup)
    shell = job_control.Shell(setup, job.cwd)
    job.line = f"{setup.ckpt} --resume -n {NAME} " + \
        " ".join(f"'{word}'" for word in job.words)

    class There:
        pid = shell.pid

        @staticmethod
        def wait_until(condition, what, seconds=20):
            end = time.monotonic() + seconds
            while not condition():
                if time.monotonic() > end:
                    raise harness.Failure(f"no {what}; the terminal has {shell.text!r}")
                time.sleep(0.005)
    job.process = There
    try:
        body(job, shell)
    finally:
        shell.close()


def interrupt(job, shell):
    shell.type(job.line.encode() + b"\n")
    job.works()
    shell.type(b"\x03")
    shell.expect(job_control.PROMPT)
    job_control.expect_in("status after ^C", r"^130\b", shell.command("echo $?"))
    job.nothing_left()


def stop_to_checkpoint(job, shell):
    """^Z is the trigger: a checkpoint, and the end. Fresh, and gone on from the image."""
    last = 0
    for _ in range(3):
        shell.type(job.line.encode() + b"\n")
        job.works()
        shell.type(b"\x1a")
        shell.expect(job_control.PROMPT)
        job_control.expect_in("status after ^Z", r"^0\b", shell.command("echo $?"))
        job.nothing_left()
        harness.check_image(job.setup, job.image)
        if job.count() <= last:
            raise harness.Failure(f"{job.count()} after {last}")
        last = job.count()


def stop_and_go(job, shell):
    """With another trigger ^Z stops both, fg lets both go on."""
    line = job.line.replace("--resume", "--resume -a USR2")
    shell.type(line.encode() + b"\n")
    job.works()
    for resume in (b"fg\n", b"bg\n", b"fg\n"):
        shell.type(b"\x1a" if resume != b"fg2" else b"")
        shell.expect(job_control.PROMPT)
        count = job.count()
        time.sleep(0.1)
        if job.count() > count + 1:
            raise harness.Failure("it was not stopped")
        shell.type(resume)
        job.works()
        if resume == b"bg\n":
            shell.expect(job_control.PROMPT)
            shell.type(b"fg\n")
            # It works in the background, too: ^Z must not come before the terminal is its own.
            job.process.wait_until(lambda: os.tcgetpgrp(shell.terminal) != shell.pid, "job in the foreground")
            job.works()
    (job.cwd / "stop").write_text("9")
    shell.expect(job_control.PROMPT)
    job_control.expect_in("status", r"^9\b", shell.command("echo $?"))


def body(setup):
    cases = [(case.__name__.replace("_", " "), lambda c=case: c(setup)) for case in (
        three_rounds, kept_as_done, killed, program_killed, parent_killed, torn, other_commands, scripts,
        two_at_once, started_again_at_once, periodic, ended_by_its_own, cannot_start, a_pipe, interrupted_early, asked_by_its_parent)]
    cases += [(f"terminal: {case.__name__.replace('_', ' ')}", lambda c=case: in_shell(setup, c))
              for case in (interrupt, stop_to_checkpoint, stop_and_go)]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
