#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""ckpt --on: ckpt takes signals and checkpoints from outside. Whatever the program does with them, they
mean what the command line says; all others reach it as if ckpt were not there."""

import os
import signal
import sys
import time

import harness
import resume

WANTED = "TERM=exit,SIGUSR1=continue,usr2=continue"
HEARS = """
import signal
def heard(number, frame): os.write(1, b"heard %d\\n" % number)
for number in (1, 2, 10, 12, 14, 15, 28, 34, 40): signal.signal(number, heard)
"""
STATES = {
    "handler": HEARS,
    "blocked": "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n",
    "ignored": "import signal\nfor n in (10, 12, 15): signal.signal(n, signal.SIG_IGN)\n",
    "default": "import signal\nfor n in (10, 12, 15): signal.signal(n, signal.SIG_DFL)\n",
}


def new_image(job, number, image=None):
    image = image or job.image
    before = harness.identity(image)
    job.process.signal(number)
    job.process.wait_until(lambda: harness.identity(image) != before, "a new image")
    # Not check_image: the lock stands beside it.
    status, _, err = job.setup.run([job.setup.readckpt, "verify", image], job.cwd)
    if status != 0:
        raise harness.Failure(f"the image: {err!r}")


def state(setup, name):
    job = resume.Job(setup, script=STATES[name] + resume.COUNT)
    options = ("--on", WANTED, "--exit-code", "75")
    last = 0
    for _ in range(3):
        job.resume(*options)
        new_image(job, signal.SIGUSR1)
        job.works()
        new_image(job, signal.SIGUSR2)
        job.works()
        count = job.checkpointed(signal.SIGTERM, 75)
        if count <= last or b"heard" in job.process.out.all():
            raise harness.Failure(f"{count} after {last}, {job.process.out.seen()!r}")
        last = count
    job.resume(*options)
    job.ended(6, code="6")


def forwarded(setup):
    """Signals that are not named, with what their senders say; each once."""
    job = resume.Job(setup, script=HEARS + resume.COUNT)
    job.resume("--on", "TERM=exit")
    wanted = b""
    for number in (1, 2, 10, 12, 14, 28, 34, 40):
        job.process.signal(number)
        wanted = b"heard %d\n" % number
        job.process.wait_output(wanted)
    job.process.signal(signal.SIGTERM)
    if job.process.wait() != 0:
        raise harness.Failure(f"{job.process.status} {job.process.stderr()!r}")
    job.nothing_left()


QUEUED = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [40])
def wait():
    while not os.path.exists("stop"):
        info = signal.sigtimedwait([40], 0.004)
        if info: print("heard", info.si_pid, flush=True)
ready()
wait()
"""


def to_the_group(setup):
    """What is sent to the whole group, the kernel has given to the program: ckpt does not again."""
    job = resume.Job(setup, script=QUEUED)
    job.resume("--on", "TERM=exit", wait=False)
    job.process.wait_output(b"ready\n")
    for count in range(1, 21):
        os.killpg(job.process.pid, 40)
        job.process.wait_until(lambda: job.process.out.seen().count(b"heard") >= count, "the signal")
    # And to ckpt alone: once more, behind all that were passed on.
    job.process.signal(40)
    job.process.wait_until(lambda: job.process.out.seen().count(b"heard") >= 21, "the last one")
    job.ended()
    heard = job.process.out.all().split(b"\n")[1:-1]
    if heard != [b"heard %d" % os.getpid()] * 20 + heard[20:] or len(heard) != 21:
        raise harness.Failure(f"{len(heard)} of 21 signals were heard: {heard}")


def without_resume(setup):
    job = resume.Job(setup)
    job.process = setup.start([setup.ckpt, "-n", resume.NAME, "--on", WANTED, "--exit-code", "85",
                               *job.words], job.cwd)
    job.works()
    new_image(job, signal.SIGUSR1)
    job.checkpointed(signal.SIGTERM, 85)
    job.restart()
    (job.cwd / "stop").write_text("")
    if job.process.wait() != 0 or not job.image.exists():
        raise harness.Failure(f"{job.process.status}")


def many_at_once(setup):
    job = resume.Job(setup)
    job.resume("--on", WANTED)
    for _ in range(20):
        job.process.signal(signal.SIGUSR1)
        job.process.signal(signal.SIGUSR2)
    new_image(job, signal.SIGUSR1)
    job.works()
    job.process.signal(signal.SIGUSR1)
    job.checkpointed(signal.SIGTERM)
    job.resume()
    job.ended()


def at_once(setup):
    """Before the agent is there, and before an image has put the memory back."""
    job = resume.Job(setup)
    for _ in range(5):
        process = job.resume("--on", WANTED, wait=False)
        process.wait_until(lambda: any(harness.read_proc(pid, "comm") == "ckpt-witness\n" for pid in
                                       harness.children_of(process.pid)), "ckpt takes signals")
        process.signal(signal.SIGTERM)
        if process.wait() != 0 or process.stderr():
            raise harness.Failure(f"{process.status} {process.stderr()!r}")
        harness.check_image(setup, job.image)
    job.resume()
    job.ended()


def refused(setup):
    """A program that cannot be saved goes on; asked twice, it gets the signal itself."""
    script = """
child = os.fork()
if child == 0:
    while True: time.sleep(1)
""" + resume.COUNT
    job = resume.Job(setup, script=script)
    job.resume("--on", WANTED)
    job.process.signal(signal.SIGUSR1)
    job.process.err.wait_for(b"\n", 20)
    job.process.signal(signal.SIGTERM)
    job.process.wait_until(lambda: job.process.err.seen().count(b"\n") == 2, "a second line")
    job.works()
    job.process.signal(signal.SIGTERM)
    for pid in harness.children_of(job.process.pid):
        for child in harness.children_of(pid):
            job.orphan = child
    if job.process.wait() != -signal.SIGTERM:
        raise harness.Failure(f"{job.process.status}")
    os.kill(job.orphan, signal.SIGKILL)
    lines = job.process.stderr().splitlines()
    for line in lines:
        harness.expect_line("line", line, "no checkpoint of process", "has a child process", "goes on")
    if len(lines) != 3 or not lines[2].endswith("gets SIGTERM itself"):
        raise harness.Failure(f"{lines}")
    job.nothing_left()


def bad_values(setup):
    session = harness.Session(setup)
    for words in (["--on", ""], ["--on", "TERM"], ["--on", "TERM=stop"], ["--on", "NONE=exit"],
                  ["--on", "KILL=exit"], ["--on", "TERM=exit,"], ["--on", "0=exit"], ["--on", "CHLD=exit"],
                  ["--exit-code", "256"], ["--exit-code", "x"]):
        status, out, err = setup.run([setup.ckpt, *words, "true"], session.cwd)
        harness.expect_refusal(f"{words}", status, out, err, "means nothing")


def body(setup):
    cases = [(name, lambda n=name: state(setup, n)) for name in STATES]
    cases += [(case.__name__.replace("_", " "), lambda c=case: c(setup)) for case in (
        forwarded, to_the_group, without_resume, many_at_once, at_once, refused, bad_values)]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
