#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A restarted program in an interactive shell, on a terminal of its own: ^C, ^Z with fg and bg, kill,
a pipeline, and the end of the terminal are what they are for any program."""

import os
import pty
import re
import select
import shutil
import signal
import sys
import time

import harness

PROMPT = b"prompt> "


class Shell:
    """bash, as a person has it."""

    def __init__(self, setup, cwd, words=()):
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            if setup.drops:
                os.setgroups([])
                os.setresgid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
                os.setresuid(harness.USER_ID, harness.USER_ID, harness.USER_ID)
            os.chdir(cwd)
            env = setup.environment({"PS1": PROMPT.decode(), "TERM": "dumb", **dict(words)})
            os.closerange(3, 256)
            os.execve("/bin/bash", ["bash", "--norc", "--noprofile", "--noediting", "-i"], env)
        self.text = b""
        self.expect(PROMPT)

    def expect(self, wanted, seconds=30):
        """Reads until `wanted` comes; what was before it is returned and forgotten."""
        end = time.monotonic() + seconds
        while wanted not in self.text:
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise harness.Failure(f"no {wanted!r} on the terminal but {self.text[-600:]!r}")
            try:
                piece = os.read(self.terminal, 4096)
            except OSError:
                piece = b""
            if not piece:
                raise harness.Failure(f"the shell has ended; its last words {self.text[-600:]!r}")
            self.text += piece
        before, self.text = self.text.split(wanted, 1)
        return before

    def type(self, text):
        os.write(self.terminal, text)

    def command(self, text):
        """Types a line; returns what it has printed before the next prompt."""
        self.type(text.encode() + b"\n")
        self.expect(b"\n")  # the echo
        return self.expect(PROMPT).decode(errors="replace")

    def close(self):
        try:
            os.close(self.terminal)
        except OSError:
            pass
        harness.kill_quietly(self.pid)
        os.waitpid(self.pid, 0)


def expect_in(label, word, text):
    if not re.search(word, text):
        raise harness.Failure(f"{label}: nothing like {word!r} in {text!r}")


def case(setup, body, *words, options=()):
    session = harness.Session(setup)
    session.start(session.victim("same_process", *words), *options, ready=True)
    trigger = getattr(signal, "SIG" + options[1]) if options else harness.TRIGGER
    session.process.wait_armed(trigger)
    session.process.signal(trigger)
    if session.process.wait() != 0:
        raise harness.Failure(f"no checkpoint: {session.process.stderr()!r}")
    shell = Shell(setup, session.cwd)
    try:
        body(session, shell)
    finally:
        shell.close()


USR2 = ("-a", "USR2")


def program_of(shell):
    """The program's number out here, once it is armed."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for child in harness.children_of(shell.pid):
            if harness.read_proc(child, "comm") == "bash\n":
                continue    # the shell's own child, a moment before it becomes the image
            program = harness.program_behind(child)
            caught = re.search(r"^SigCgt:\s*(\w+)", harness.read_proc(program, "status"), re.M)
            if caught and int(caught[1], 16) >> (signal.SIGUSR2 - 1) & 1:
                return child, program
        time.sleep(0.01)
    raise harness.Failure("the program does not come")


def state_of(pid):
    found = re.search(r"^State:\s*(\w)", harness.read_proc(pid, "status"), re.M)
    return found[1] if found else "gone"


def wait_state(pid, states):
    end = time.monotonic() + 10
    while state_of(pid) not in states:
        if time.monotonic() > end:
            raise harness.Failure(f"process {pid} is {state_of(pid)}, not one of {states}\n" +
                                  harness.describe(pid))
        time.sleep(0.005)


def interrupt(session, shell):
    shell.type(b"./image.ckpt\n")
    _, program = program_of(shell)
    shell.type(b"\x03")
    shell.expect(PROMPT)
    wait_state(program, ("gone", "Z"))
    expect_in("status after ^C", r"^130\b", shell.command("echo $?"))


def interrupt_heard(session, shell):
    shell.type(b"./image.ckpt\n")
    program_of(shell)
    for _ in range(3):
        shell.type(b"\x03")
        shell.expect(b"signal 2 -1")
        time.sleep(0.05)
    if b"signal 2" in shell.text:
        raise harness.Failure(f"^C was heard twice: {shell.text!r}")
    session.stop()
    shell.expect(b"child 11 | 11")
    shell.expect(PROMPT)
    expect_in("status", r"^42\b", shell.command("echo $?"))


def stop_and_go(session, shell):
    shell.type(b"./image.ckpt\n")
    stand_in, program = program_of(shell)
    for resume in ("fg", "bg", "fg"):
        shell.type(b"\x1a")
        expect_in("^Z", r"Stopped", shell.expect(PROMPT).decode())
        wait_state(program, "T")
        wait_state(stand_in, "T")
        if resume == "fg":
            shell.type(b"fg\n")
            wait_state(program, "SR")
        else:
            expect_in("bg", r"image.ckpt", shell.command("bg"))
            wait_state(program, "SR")
            expect_in("jobs", r"Running", shell.command("jobs"))
            shell.type(b"fg\n")
            shell.expect(b"fg\r\n")
            shell.expect(b"image.ckpt")
            time.sleep(0.1)
    session.stop()
    shell.expect(b"child 11 | 11")
    shell.expect(PROMPT)
    expect_in("status", r"^42\b", shell.command("echo $?"))


def killed_job(session, shell):
    shell.command("./image.ckpt &")
    stand_in, program = program_of(shell)
    expect_in("wait", r"status 143", shell.command("kill %1; wait %1; echo status $?"))
    wait_state(program, ("gone", "Z"))
    # And one that is stopped.
    shell.command("./image.ckpt &")
    stand_in, program = program_of(shell)
    shell.command("kill -STOP %%")
    wait_state(program, "T")
    shell.command("kill %%; sleep 0.2")
    wait_state(program, ("gone", "Z"))


def pipeline(session, shell):
    shell.type(b"./image.ckpt | cat | cat; echo ${PIPESTATUS[0]}\n")
    program_of(shell)
    shell.type(b"\x1a")
    expect_in("^Z", "Stopped", shell.expect(PROMPT).decode())
    shell.type(b"fg\n")
    time.sleep(0.2)
    session.stop()
    shell.expect(b"child 11 | 11")
    shell.expect(PROMPT)


def script(session, shell):
    """A script around it keeps the terminal, and ^C ends both."""
    (session.cwd / "script").write_text("./image.ckpt\necho next\n")
    shell.type(b"sh script; echo ended $?\n")
    end = time.monotonic() + 20
    while not any(harness.program_behind(c) != c for s in harness.children_of(shell.pid)
                  for c in harness.children_of(s)) and time.monotonic() < end:
        time.sleep(0.02)
    time.sleep(0.3)
    shell.type(b"\x03")
    text = shell.expect(PROMPT).decode()
    if "next" in text.replace("echo next", ""):
        raise harness.Failure(f"the script went on: {text!r}")


def freeze_again(session, shell):
    """^Z with the default trigger: the restarted program is checkpointed."""
    before = harness.identity(session.image)
    shell.type(b"./image.ckpt\n")
    end = time.monotonic() + 20
    while time.monotonic() < end:
        found = [harness.program_behind(c) for c in harness.children_of(shell.pid)]
        if found and int(re.search(r"^SigCgt:\s*(\w+)|$", harness.read_proc(found[0], "status"),
                                   re.M)[1] or "0", 16) >> (harness.TRIGGER - 1) & 1:
            break
        time.sleep(0.01)
    shell.type(b"\x1a")
    shell.expect(PROMPT)
    expect_in("status", r"^0\b", shell.command("echo $?"))
    if harness.identity(session.image) == before:
        raise harness.Failure("no new image")


def hang_up(session, shell):
    shell.type(b"./image.ckpt\n")
    stand_in, program = program_of(shell)
    os.close(shell.terminal)
    wait_state(program, ("gone", "Z"))
    wait_state(stand_in, ("gone", "Z"))


def body(setup):
    if not shutil.which("bash"):
        raise harness.Skip("no bash")
    harness.run_cases(setup, [
        ("^C", lambda: case(setup, interrupt, options=USR2)),
        ("^C is heard once", lambda: case(setup, interrupt_heard, "listen", "end=42",
                                          options=("-a", "PROF"))),
        ("^Z, fg, bg", lambda: case(setup, stop_and_go, "end=42", options=USR2)),
        ("kill %1", lambda: case(setup, killed_job, options=USR2)),
        ("a pipeline", lambda: case(setup, pipeline, options=USR2)),
        ("a script", lambda: case(setup, script, options=USR2)),
        ("^Z as the trigger", lambda: case(setup, freeze_again)),
        ("the terminal is closed", lambda: case(setup, hang_up, options=USR2))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
