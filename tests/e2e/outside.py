#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checkpoints from outside (ckpt -p PID --now): no signal is used, so nothing that a program does with
its signals matters, and no call of it ends early; each thing that stands in the way is one line; and
whoever asks may be killed at any moment."""

import os
import signal
import subprocess
import sys
import time

import asking
import harness

STATES = {
    "handler": "signal.signal({0}, lambda *_: os.write(1, b'heard'))",
    "blocked": "signal.pthread_sigmask(signal.SIG_BLOCK, [{0}])",
    "ignored": "signal.signal({0}, signal.SIG_IGN)",
    "default": "signal.signal({0}, signal.SIG_DFL)",
}
EVERY = """
import signal
for number in signal.valid_signals():
    try: signal.signal(number, signal.SIG_IGN)
    except OSError: pass
signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
ready()
wait()
print("ok")
"""


def now(session, *options, pid=None, wanted=0):
    """ckpt -p PID --now: its line on standard output, or its line on standard error."""
    words = [session.setup.ckpt, "-p", pid or session.process.pid, "--now", *options]
    status, out, err = session.setup.run(words, session.cwd)
    if status != wanted or (wanted == 0 and err) or (wanted != 0 and out):
        raise harness.Failure(f"{words[1:]}: status {status}, stdout {out!r}, stderr {err!r}; the "
                              f"program: {session.process.ended(0.2)} {session.process.status}")
    return (out if wanted == 0 else err).rstrip("\n")


def asked(session, *options, image=None, **more):
    image = image or session.image
    before = harness.identity(image)
    name = now(session, *options, **more)
    if name != str(image) or harness.identity(image) == before:
        raise harness.Failure(f"said {name!r}, and no new image is at {image}")
    harness.check_image(session.setup, image)


def end_it(session, **more):
    """The checkpoint that ends it, and a restart that goes on to the end."""
    asked(session, **more)
    status = session.process.wait()
    if status != 0 or session.process.stderr():
        raise harness.Failure(f"ended with {status}, stderr {session.process.stderr()!r}")
    session.output += session.process.out.all()


def signal_state(setup, state, number):
    session = harness.Session(setup)
    text = "import signal\n" + STATES[state].format(number) + "\nready()\nwait()\nprint('ok')\n"
    session.start(session.script(text), "-a", str(number))
    asked(session, "-c")
    asked(session, "--continue", "-n", "other.ckpt", image=session.cwd / "other.ckpt")
    end_it(session)
    session.restart(armed=False)
    session.process.wait_until(lambda: try_now(session), "the agent works again")
    end_it(session)
    session.restart(armed=False)
    session.end()


def try_now(session):
    words = [session.setup.ckpt, "-p", session.process.pid, "--now", "-c"]
    return session.setup.run(words, session.cwd)[0] == 0


def every_signal(setup):
    session = harness.Session(setup)
    session.start(session.script(EVERY))
    for _ in range(3):
        asked(session, "-c")
    end_it(session)
    session.restart(armed=False)
    session.end()


def victim(setup, name, *words, rounds=3):
    """One that is undisturbed, alive and restarted."""
    session = harness.Session(setup)
    silent, held = os.pipe()
    session.start(session.victim(name, *words), stdin=silent)
    for _ in range(rounds):
        for _ in range(3):
            time.sleep(setup.random.uniform(0, 0.05))
            asked(session, "-c")
        end_it(session)
        session.restart(armed=True, stdin=silent)
    session.stop()
    if name.endswith("read_pipe"):
        os.write(held, b"0000000\n")
    status = session.process.wait()
    os.close(silent)
    os.close(held)
    output = session.output + session.process.out.all()
    if status != 0 or not output.endswith(b"ok\n"):
        raise harness.Failure(f"status {status}, stdout {output[-300:]!r}, "
                              f"stderr {session.process.stderr()!r}")


def with_static(setup):
    session = harness.Session(setup)
    session.start(["/bin/busybox", "sh", "-c", "echo ready; while [ ! -e stop ]; do :; done; echo ok"])
    asked(session, "-c")
    end_it(session)
    session.restart()
    asked(session, "-c")
    session.end()


def held_off(setup):
    """ckpt_hold: the request is met when the program releases."""
    session = harness.Session(setup)
    session.start(session.script(
        "import ctypes\nlibrary = ctypes.CDLL(None)\nlibrary.ckpt_hold()\nready()\n"
        "while not os.path.exists('release'): time.sleep(0.004)\n"
        "library.ckpt_release()\nwait()\nprint('ok')\n"))
    asker = setup.start([setup.ckpt, "-p", session.process.pid, "--now", "-c"], session.cwd)
    if asker.ended(0.5) or session.image.exists():
        raise harness.Failure(f"not held off: {asker.status}, {asker.stderr()!r}")
    (session.cwd / "release").touch()
    if asker.wait() != 0 or asker.stderr():
        raise harness.Failure(f"{asker.status}, {asker.stderr()!r}")
    harness.check_image(setup, session.image)
    session.end()


def callbacks(setup):
    """The victim has its trigger taken by its second thread; from outside it is the main thread, and
    that is all it may complain of: order, stack, signals, registers, what is back when are the same."""
    session = harness.Session(setup)
    session.start(session.victim("api_callbacks"))
    for _ in range(3):
        asked(session, "-c")
    end_it(session)
    session.restart()
    asked(session, "-c")
    session.stop()
    session.process.wait()
    lines = (session.output + session.process.out.all()).decode().splitlines()
    known = "thread-local storage of another thread"
    other = [line for line in lines if not line.endswith(known)]
    if other not in (["ready"], ["ready", "ok"]) or len(lines) < 20:
        raise harness.Failure(f"{other} and {len(lines)} lines")


def two_askers(setup):
    session = harness.Session(setup)
    session.start(session.script("import threading\nready()\nwait()\nprint('ok')\n"))
    for turn in range(5):
        askers = []
        for i in range(3):
            name = f"asked{i}.ckpt"
            askers.append((name, setup.start([setup.ckpt, "-p", session.process.pid, "--now", "-c",
                                              "-n", name], session.cwd)))
        for name, asker in askers:
            if asker.wait() != 0:
                raise harness.Failure(f"turn {turn}: {asker.stderr()!r}")
            if asker.out.all().decode() != f"{session.cwd}/{name}\n":
                raise harness.Failure(f"turn {turn}: {asker.out.seen()!r}")
            harness.check_image(setup, session.cwd / name)
            os.unlink(session.cwd / name)
    session.end()


def with_the_trigger(setup):
    """Both ways at once: every request is answered, and the program lives."""
    session = harness.Session(setup)
    session.start(session.victim("threads_registers"), "-c")
    for _ in range(10):
        session.process.signal(harness.TRIGGER)
        asked(session, "-c", "-n", "other.ckpt", image=session.cwd / "other.ckpt")
    session.stop()
    if session.process.wait() != 0 or session.process.stderr():
        raise harness.Failure(f"{session.process.status}: {session.process.stderr()!r}")


def askers_killed(setup, name, *words, times=60):
    """kill -9 of who asks, at random moments: the program does not notice."""
    session = harness.Session(setup)
    session.start(session.victim(name, *words))
    whole = 0.03
    for _ in range(times):
        asker = setup.start([setup.ckpt, "-p", session.process.pid, "--now", "-c", "-n", "k.ckpt"],
                            session.cwd)
        time.sleep(setup.random.uniform(0, whole))
        asker.signal(signal.SIGKILL)
        asker.wait()
    # The last one may still be at work.
    asked(session, "-c")
    session.stop()
    status = session.process.wait()
    if status != 0 or session.process.stderr() or not session.process.out.all().endswith(b"ok\n"):
        raise harness.Failure(f"status {status}, stdout {session.process.out.seen()[-300:]!r}, stderr "
                              f"{session.process.stderr()!r}")


def refused(session, *words, pid=None):
    harness.expect_line("refusal", now(session, "-c", pid=pid, wanted=1), "process \\d+: ", *words)


def no_agent(setup):
    session = harness.Session(setup)
    session.launch(session.script("ready()\nwait()\n"), ready=False)
    session.launch(["/usr/bin/python3", "-I", "-S", "script.py"])
    asked(session, "-c", image=session.cwd / "python3.ckpt")
    session.stop()
    session.process.wait()



def unreaped_child(setup):
    session = harness.Session(setup)
    session.start(session.script(
        "if os.fork() == 0: os._exit(0)\nready()\nwait()\nprint('ok')\n"))
    child = harness.children_of(session.process.pid)[0]
    session.process.wait_until(lambda: "Z" in harness.read_proc(child, "stat"), "a zombie")
    refused(session, "child process")
    session.end()


def stopped(setup):
    session = harness.Session(setup)
    session.start(session.script("ready()\nwait()\nprint('ok')\n"))
    session.process.signal(signal.SIGSTOP)
    session.process.wait_until(lambda: ") T" in harness.read_proc(session.process.pid, "stat"), "a stop")
    refused(session, "stopped", "CONT")
    if ") T" not in harness.read_proc(session.process.pid, "stat"):
        raise harness.Failure("it was let go on")
    session.process.signal(signal.SIGCONT)
    asked(session, "-c")
    session.end()




def in_vfork(setup):
    session = harness.Session(setup)
    session.start(session.script(
        "import ctypes, threading\n"
        "t = threading.Thread(target=lambda: ctypes.CDLL(None).system(b'sleep 0.01'))\n"
        "t.start(); t.join()\nready()\nwait()\nprint('ok')\n"))
    asked(session, "-c")
    session.end()
    session = harness.Session(setup, "vfork")
    session.launch([setup.ckpt, "-n", session.IMAGE, *session.victim("threads_vfork", "child_may_end")], ready=True)
    time.sleep(0.3)
    refused(session, "vfork|child process")
    (session.cwd / "child_may_end").touch()
    session.process.wait_output(b"waited\n", 20)
    asked(session, "-c")
    session.stop()
    if session.process.wait() != 0:
        raise harness.Failure(f"{session.process.stderr()!r}")



def in_namespace(setup):
    """A PID namespace and a mount namespace of its own."""
    if setup.drops or subprocess.run(["unshare", "-pfm", "--mount-proc", "true"],
                                     capture_output=True).returncode != 0:
        raise harness.Skip("no namespace can be made")
    session = harness.Session(setup)
    session.launch(["unshare", "-pfm", "--mount-proc", "--kill-child", setup.ckpt, "-n", session.IMAGE,
                    *session.script("ready()\nwait()\nprint('ok')\n")])
    program = harness.children_of(session.process.pid)[0]
    asked(session, "-c", pid=program)
    session.end()


def usage(setup):
    session = harness.Session(setup)
    for words in (["--now"], ["-p", "0", "--now"], ["-p", "x", "--now"], ["-p", "1", "--now", "true"],
                  ["-p", "1", "--now", "--resume"]):
        status, out, err = setup.run([setup.ckpt, *words], session.cwd)
        if status not in (2, harness.REFUSED) or out or len(err.splitlines()) != 1:
            raise harness.Failure(f"{words}: {status} {out!r} {err!r}")


def body(setup):
    trigger = int(harness.TRIGGER)
    cases = [(f"{state} trigger", lambda s=state: signal_state(setup, s, trigger)) for state in STATES]
    cases += [(f"{state} SIGUSR2", lambda s=state: signal_state(setup, s, 12)) for state in STATES]
    cases.append(("every signal ignored and blocked", lambda: every_signal(setup)))
    for name in ("wait_nanosleep", "wait_clock_nanosleep", "wait_clock_nanosleep_abs", "wait_futex",
                 "wait_poll", "wait_ppoll", "wait_select", "wait_pselect", "wait_pause",
                 "wait_sigsuspend", "wait_sigtimedwait", "wait_read_pipe", "threads_registers",
                 "threads_states", "rseq", "registers_avx2", "epoll", "altstack_small"):
        cases.append((name, lambda n=name: victim(setup, n)))
    cases += [
        ("static program", lambda: with_static(setup)),
        ("held off", lambda: held_off(setup)),
        ("callbacks", lambda: callbacks(setup)),
        ("two askers", lambda: two_askers(setup)),
        ("with the trigger", lambda: with_the_trigger(setup)),
        ("askers killed, in a call", lambda: askers_killed(setup, "wait_sigtimedwait")),
        ("askers killed, threads", lambda: askers_killed(setup, "threads_registers")),
        ("no agent", lambda: no_agent(setup)),
        ("child not waited for", lambda: unreaped_child(setup)),
        ("stopped", lambda: stopped(setup)),
        ("vfork", lambda: in_vfork(setup)),
        ("namespaces", lambda: in_namespace(setup)),
        ("usage", lambda: usage(setup)),
    ]
    cases += asking.Asking(setup, lambda session, text: session.start(session.script(text)),
                           lambda session: asked(session, "-c"), refused).cases()
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
