#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs with threads under many checkpoints, one as soon as the other is there, and a thread inside
vfork, which nothing can stop while its child lives: a line, and a checkpoint once it has ended."""

import re
import sys

import harness

STORM = 200
MOVING = ("threads_born_and_gone", "threads_storm", "threads_mutex_barrier", "threads_states",
          "threads_glibc")


def storm(setup, victim):
    session = harness.Session(setup)
    process = session.start(session.victim(victim), "-c")
    process.wait_armed()
    for number in range(1, STORM + 1):
        harness.checkpoint_and_continue(process, session.image, f"checkpoint {number}")
        if number % 20 == 0:
            harness.check_image(setup, session.image)
    session.end(what=f"after {STORM} checkpoints")
    # The last image is as good as the first.
    session.go_on()
    session.output = b"ready\n"
    again = session.restart()
    # What is in the image goes on after a checkpoint, as the program did.
    harness.checkpoint_and_continue(again, session.image, "checkpoint of the restarted program")
    harness.check_image(setup, session.image)
    again.kill()
    session.output += again.out.all()
    session.restart()
    session.end(what="from the last image")


def out_of_vdso(setup):
    """Of the threads that are always in and out of the vDSO, hardly one is saved inside it."""
    session = harness.Session(setup)
    process = session.start(session.victim("threads_vdso"), "-c")
    process.wait_armed()
    with open(f"/proc/{process.pid}/maps") as maps:
        begin, end = (int(word, 16) for line in maps if line.endswith("[vdso]\n")
                      for word in line.split()[0].split("-"))
    inside = 0
    for _ in range(10):
        harness.checkpoint_and_continue(process, session.image)
        _, text, _ = setup.run([setup.readckpt, "--json", session.image], session.cwd)
        places = [int(word, 16) for word in re.findall(r'"rip": "(0x[0-9a-f]+)"', text)]
        if len(places) != 5:
            raise harness.Failure(f"{len(places)} threads in the image")
        inside += sum(begin <= place < end for place in places)
    # On a busy machine some are: the clock that they read ticks from one step to the next, and they
    # begin again. Let go where they are found, nearly all would be.
    if inside > 35:
        raise harness.Failure(f"{inside} of 50 threads were saved inside the vDSO")
    session.end()


def inside_vfork(setup, *options):
    session = harness.Session(setup)
    process = session.start(session.victim("threads_vfork", "child_may_end"), *options)
    process.wait_armed()
    process.signal(harness.TRIGGER)
    process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a line that says why")
    said = process.err.seen().decode()
    harness.expect_line("a thread inside vfork", said, "vfork|child process")
    if session.image.exists():
        raise harness.Failure("there is an image as well")
    (session.cwd / "child_may_end").touch()
    process.wait_output(b"waited\n")
    if options:
        harness.checkpoint_and_continue(process, session.image)
        session.end(output=b"ready\nwaited\nok\n", stderr=said)
        session.go_on()
        session.output = b""
    else:
        harness.checkpoint_and_exit(process, session.image, said=said)
        session.output = process.out.all().replace(b"ready\nwaited\n", b"")
    session.restart()
    session.end(output=b"ok\n")


def body(setup):
    harness.run_cases(setup, [
        *((f"{STORM} checkpoints: {victim}", lambda victim=victim: storm(setup, victim))
          for victim in MOVING),
        ("out of the vDSO", lambda: out_of_vdso(setup)),
        ("inside vfork", lambda: inside_vfork(setup)),
        ("inside vfork, -c", lambda: inside_vfork(setup, "-c")),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
