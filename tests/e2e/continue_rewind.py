#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A machine that dies after the last checkpoint: the program had gone on (-c), had written more, and
was killed. Restarted with --files=rewind its files are those of a run that nobody disturbed, and
what was cut off is kept beside them."""

import os
import pathlib
import sys
import time

import harness

# Writes to standard output and to two files of its own, one of them with O_APPEND, as it goes.
WRITER = """
import os, sys, time
plain = open("plain.txt", "w", buffering=300)
append = open("append.txt", "a", buffering=1)
print("begin")
sys.stdout.flush()
for i in range(%d):
    print("line", i, "x" * (i %% 50))
    plain.write("plain %%d\\n" %% i)
    append.write("append %%d\\n" %% i)
    if i %% 10 == 0:
        sys.stdout.flush()
        time.sleep(0.004)
print("end")
sys.exit(3)
"""
LINES = 2500
FILES = ("stdout.txt", "plain.txt", "append.txt")
BEFORE = b"what was there before\n"


def launch(setup, cwd, argv, append):
    """Starts a program with standard output in a file, as the shell's > or >> does."""
    flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
    stdout = os.open(cwd / "stdout.txt", flags, 0o644)
    setup.give(cwd / "stdout.txt")
    try:
        return setup.start(argv, cwd, stdout=stdout)
    finally:
        os.close(stdout)


def prepare(setup, name):
    cwd = setup.directory(name)
    (cwd / "writer.py").write_text(WRITER % LINES)
    for each in ("stdout.txt", "append.txt"):
        (cwd / each).write_bytes(BEFORE)
    setup.give(cwd)
    return cwd


def contents(cwd):
    return {name: (cwd / name).read_bytes() for name in FILES}


def size(path):
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def compare(what, wanted, got):
    faults = [harness.difference(name, wanted[name], got[name]) for name in FILES]
    if any(faults):
        raise harness.Failure(what + ":\n" + "\n".join(fault for fault in faults if fault))


def case(setup, append, how, kills):
    argv = ["/usr/bin/python3", "-I", "-S", "writer.py"]
    alone = prepare(setup, "undisturbed")
    process = launch(setup, alone, argv, append)
    if process.wait() != 3:
        raise harness.Failure(f"undisturbed: status {process.status}: {process.stderr()!r}")
    wanted = contents(alone)
    whole = len(wanted["stdout.txt"])

    cwd = prepare(setup, "disturbed")
    image = cwd / "image.ckpt"
    process = launch(setup, cwd, [setup.ckpt, "-c", "-n", "image.ckpt", *argv], append)
    chosen = setup.random
    share = 0.0
    for number in range(kills):
        low = 0.1 + 0.7 * number / kills
        share = chosen.uniform(low, low + 0.3 / kills)
        process.wait_until(lambda: size(cwd / "stdout.txt") > share * whole and process.catches(
            harness.TRIGGER), "output", 60)
        harness.checkpoint_and_continue(process, image)
        harness.check_image(setup, image)
        # More output, in all three files, and then the end of the machine.
        after = contents(cwd)
        process.wait_until(lambda: size(cwd / "stdout.txt") > len(after["stdout.txt"]) + 500
                           and size(cwd / "append.txt") > len(after["append.txt"]) + 100
                           and size(cwd / "plain.txt") > len(after["plain.txt"]) + 300,
                           "more output")
        process.kill()
        killed = contents(cwd)
        for path in cwd.glob("*.after-ckpt*"):
            path.unlink()
        words, env = ([], {"CKPT_FILES": "rewind"}) if how == "environment" else (
            ["--files=rewind"], None)
        process = setup.start(["./image.ckpt", *words], cwd, env=env)
        process.wait_armed()
        for name in FILES:
            kept = pathlib.Path(str(cwd / name) + ".after-ckpt")
            if not kept.exists():
                raise harness.Failure(f"{kept.name} is not there; {os.listdir(cwd)}")
            tail = kept.read_bytes()
            if not tail or not killed[name].endswith(tail):
                raise harness.Failure(f"{kept.name} is not the tail of {name}: {tail[:80]!r} …")
            if not wanted[name].startswith(killed[name][:-len(tail)]):
                raise harness.Failure(f"{name} was cut at the wrong place")
    status = process.wait()
    extra = process.out.all()
    if status != 3 or extra or process.stderr():
        raise harness.Failure(f"status {status}, pipe {extra!r}, stderr {process.stderr()!r}")
    compare("after the restart", wanted, contents(cwd))
    # The image is still what it was: whoever wants to can do it all again.
    process = setup.start(["./image.ckpt", "--files=rewind"], cwd)
    if process.wait() != 3:
        raise harness.Failure(f"second restart: status {process.status}: {process.stderr()!r}")
    compare("after a second restart", wanted, contents(cwd))


def body(setup):
    harness.run_cases(setup, [
        ("> file, --files=rewind", lambda: case(setup, False, "option", 1)),
        (">> file, --files=rewind", lambda: case(setup, True, "option", 1)),
        ("> file, CKPT_FILES=rewind", lambda: case(setup, False, "environment", 1)),
        (">> file, killed three times", lambda: case(setup, True, "option", 3)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
