#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checkpoints by the clock, more often than a call's time limit: the call comes back all the same,
late by no more than the checkpoints cost, also when it is restarted in between."""

import sys
import time

import harness

PERIOD = "25"       # milliseconds; a call waits 60


def periodic(setup, restarts):
    session = harness.Session(setup)
    process = session.start(session.victim("limits"), "-z", PERIOD)
    done = 0
    while done < restarts:
        time.sleep(setup.random.uniform(0.02, 0.2))
        if process.ended():
            raise harness.Failure(f"ended with {process.status} after {done} restarts: "
                                  f"{process.out.all()!r} {process.stderr()!r}")
        process.signal(harness.TRIGGER)
        # One that comes while a tick waits for its turn is the same signal, and is gone with it.
        while not process.ended(0.3):
            process.signal(harness.TRIGGER)
        status = process.wait()
        if status != 0 or process.stderr():
            raise harness.Failure(f"restart {done}: status {status}, {process.stderr()!r}")
        session.output += process.out.all()
        if b"ok" in session.output:
            return False
        process = session.restart()
        done += 1
    # 24 waits of 60 ms each; without an end to them it would be for ever.
    status = process.wait(60)
    session.output += process.out.all()
    if (status, session.output, process.stderr()) != (0, b"ready\nok\n", ""):
        raise harness.Failure(f"status {status}, {session.output!r}, {process.stderr()!r}")
    return True


def several_times(setup, restarts):
    """On a machine that is busy enough the program may come to its end before it is asked."""
    for _ in range(5):
        if periodic(setup, restarts):
            return
    raise harness.Failure("five times it has run to its end, whatever was asked")


def body(setup):
    setup.random.seed(setup.seed)
    harness.run_cases(setup, [
        ("it goes on", lambda: periodic(setup, 0)),
        ("restarted in between", lambda: several_times(setup, 6))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
