#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The agent comes into programs and goes again very often, and whoever brings it is killed: at random
moments, and at each of its system calls. The program's sums stay right, nothing of it is lost and
nothing piles up; afterwards the next injection works. A sample, or all of it with --full."""

import subprocess
import sys

import harness
import hijack


def command(setup, *words):
    """Runs a command of which nothing is to be heard."""
    done = subprocess.run([str(word) for word in words], cwd=setup.quiet, env=setup.environment(),
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                          **setup.identity)
    return done.returncode, done.stdout + done.stderr


def ckpt(setup, session, *words):
    status, said = command(setup, setup.ckpt, "-p", session.process.pid, *words)
    if status != 0 or said:
        raise harness.Failure(f"{words}: status {status}, {said!r}; the program: "
                              f"{session.process.ended(0.2)} {session.process.status}")


def in_and_out(setup, name, times):
    """Mappings, descriptors, threads, masks, dispositions and timers are as they were before, each time
    that the agent has gone."""
    session = harness.Session(setup)
    session.launch(session.victim(name))
    pid = session.process.pid

    def traces():
        actions = [l for l in harness.read_proc(pid, "status").splitlines()
                   if l.startswith(("SigIgn", "SigCgt", "Threads"))]
        return hijack.traces(pid), actions, harness.read_proc(pid, "timers")

    before = traces()
    for turn in range(times):
        ckpt(setup, session, "-n", session.IMAGE)
        if turn % 16 == 0 and not session.process.catches(harness.TRIGGER):
            raise harness.Failure(f"turn {turn}: no trigger")
        ckpt(setup, session, "--remove")
        if turn % 16 == 0 and traces() != before:
            raise harness.Failure(f"turn {turn}: {before}\n{traces()}")
    if traces() != before:
        raise harness.Failure(f"{before}\n{traces()}")
    hijack.to_the_end(session)


def goes_on_after(setup, session, what):
    """The next injection works, and the agent goes again."""
    if session.process.ended():
        raise harness.Failure(f"{what}: it ended with {session.process.status}, "
                              f"{session.process.out.all()[-300:]!r}")
    try:
        ckpt(setup, session, "-n", session.IMAGE)
        ckpt(setup, session, "--remove")
    except harness.Failure as failure:
        raise harness.Failure(f"{what}: {failure}") from None


def killed(setup, name, times):
    """kill -9 at random moments of the command, of the process that it has made, or of both, while it
    brings the agent, gives it other options, or takes it out."""
    session = harness.Session(setup)
    session.launch(session.victim(name))
    for turn in range(times):
        words = setup.random.choice([["-n", session.IMAGE], ["-n", session.IMAGE, "-z", "3600"],
                                     ["--remove"]])
        if words == ["--remove"] or setup.random.random() < 0.5:
            ckpt(setup, session, "-n", session.IMAGE)
        asker = subprocess.Popen([setup.ckpt, "-p", str(session.process.pid), *words],
                                 cwd=setup.quiet, env=setup.environment(), stdin=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **setup.identity)
        hijack.die(setup, asker)
        goes_on_after(setup, session, f"turn {turn}")
    hijack.to_the_end(session)


def at_each_call(setup, name, what, step):
    """All that belongs to the command dies at its N-th system call, for every N, or for every `step`-th
    from a random one on."""
    session = harness.Session(setup)
    session.launch(session.victim(name))
    killer = setup.victim("kill_at", session.cwd)
    words = {"in": ["-n", session.IMAGE], "out": ["--remove"],
             "now": ["--now", "-c", "-n", session.cwd / "now.ckpt"]}[what]
    number = setup.random.randrange(step)
    while True:
        if what != "in":
            ckpt(setup, session, "-n", session.IMAGE)
        status, said = command(setup, killer, number, setup.ckpt, "-p", session.process.pid, *words)
        if status == 1:
            break  # it has ended before
        if status != 0 or (said and what != "now"):
            raise harness.Failure(f"call {number}: status {status}, {said!r}")
        goes_on_after(setup, session, f"killed at call {number}")
        number += step
    if number < 50:
        raise harness.Failure(f"{what}: a command of {number} system calls?")
    if step == 1:
        print(f"        {name}, {what}: killed at each of {number} calls")
    hijack.to_the_end(session)


def behind_locks(setup):
    """Nobody gives the loader's lock and the allocator's back before the agent is there and an image is
    made."""
    session = harness.Session(setup)
    session.launch(session.victim("holding_locks", "release"))
    hijack.inject(session)
    hijack.now(session, "-c")
    session.checkpoint()
    session.restart()
    (session.cwd / "release").touch()
    hijack.inject(session, pid=session.process.program())
    session.checkpoint()
    session.restart()
    hijack.to_the_end(session)


def body(setup):
    setup.quiet = setup.directory("quiet")
    setup.identity = (dict(user=harness.USER_ID, group=harness.USER_ID, extra_groups=[])
                      if setup.drops else {})
    full = setup.options.full
    cases = [
        ("in dlopen and dlclose",
         lambda: hijack.to_the_end(hijack.rounds(setup, lambda s: s.victim("opening_libraries")))),
        ("behind the loader's and the allocator's lock", lambda: behind_locks(setup)),
        ("256 threads",
         lambda: hijack.to_the_end(hijack.rounds(setup, lambda s: s.victim("threads_many", "256")))),
        ("in and out", lambda: in_and_out(setup, "summing", 10_000 if full else 50)),
    ]
    # hijack.py has a sample of deaths.
    for name in ["summing", "threads_registers", "threads_leader_gone", "wait_nanosleep",
                 "static_registers_avx2"] if full else []:
        cases.append((f"killed, {name}", lambda n=name: killed(setup, n, 500)))
        for what in ("in", "out", "now"):
            cases.append((f"killed at each call, {what}, {name}",
                          lambda n=name, w=what: at_each_call(setup, n, w, 1)))
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true")
    sys.exit(harness.main(made, body))
