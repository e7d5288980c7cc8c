#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Options and their variables, spelled every way that users of the programs before this one type
them; and what LD_PRELOAD looks like to the program and to what it starts."""

import os
import re
import signal
import sys
import time

import harness

USR2 = signal.SIGUSR2


def launch(setup, env=None, options=(), image="image.ckpt", preload=False, **more):
    session = harness.Session(setup)
    session.image = session.cwd / image
    session.IMAGE = image
    program = session.victim("tick")
    if preload:
        env = {"LD_PRELOAD": str(setup.library), **(env or {})}
        argv = program
    else:
        argv = [setup.ckpt, *options, *program]
    session.launch(argv, env=env, **more)
    return session


def expect_exit_image(session, number):
    """The signal makes an image and ends the program; the image goes on."""
    before = harness.identity(session.image)
    session.process.signal(number)
    status = session.process.wait()
    if status != 0 or harness.identity(session.image) == before:
        raise harness.Failure(f"{signal.Signals(number).name}: status {status}, files "
                              f"{os.listdir(session.cwd)}, stderr {session.process.stderr()!r}")
    session.output += session.process.out.all()
    session.restart(armed=False)
    session.process.wait_armed(number)
    session.end()


def names(setup):
    expect_exit_image(launch(setup, {"CKPT_NAME": "named by variable"}, image="named by variable"),
                      harness.TRIGGER)
    expect_exit_image(launch(setup, {"CKPT_NAME": "variable"}, ["-n", "option"], "option"),
                      harness.TRIGGER)
    expect_exit_image(launch(setup, None, ["--name", "long"], "long"), harness.TRIGGER)
    expect_exit_image(launch(setup, None, ["--name=long"], "long"), harness.TRIGGER)
    session = launch(setup)
    session.image = session.cwd / "tick.ckpt"
    session.IMAGE = "tick.ckpt"
    expect_exit_image(session, harness.TRIGGER)
    place = setup.directory("absolute")
    session = launch(setup, {"CKPT_NAME": str(place / "image")})
    session.image = place / "image"
    session.IMAGE = "../absolute/image"
    expect_exit_image(session, harness.TRIGGER)
    session = launch(setup, {"CKPT_NAME": f"file://{place}/by-url"})
    session.image = place / "by-url"
    session.IMAGE = "../absolute/by-url"
    expect_exit_image(session, harness.TRIGGER)


def signals(setup):
    for spelled in ("SIGUSR2", "USR2", "usr2", "sigusr2", "12"):
        expect_exit_image(launch(setup, {"CKPT_ASYNCSIG": spelled}, ["-n", "image.ckpt"]), USR2)
        expect_exit_image(launch(setup, None, ["-n", "image.ckpt", "-a", spelled]), USR2)
    expect_exit_image(launch(setup, {"CKPT_ASYNCSIG": "HUP"},
                             ["-n", "image.ckpt", "--signal=USR2"]), USR2)
    # The other signals are the program's: it dies of them, as ever.
    session = launch(setup, None, ["-a", "USR2"])
    session.process.signal(signal.SIGUSR1)
    if session.process.wait() != -signal.SIGUSR1:
        raise harness.Failure(f"SIGUSR1: {session.process.status}")
    # 0 is none.
    session = launch(setup, None, ["-a", "0"])
    session.process.signal(USR2)
    if session.process.wait() != -USR2 or session.process.stderr():
        raise harness.Failure(f"-a 0: {session.process.status} {session.process.stderr()!r}")


def continues(setup):
    for value, options, wanted in (("1", (), True), ("yes", (), True), ("true", (), True),
                                   ("on", (), True), ("0", (), False), ("no", (), False),
                                   ("false", (), False), ("off", (), False),
                                   ("0", ("-c",), True), (None, ("--continue",), True)):
        env = {"CKPT_CONTINUE": value} if value else None
        session = launch(setup, env, ["-n", "image.ckpt", *options])
        if wanted:
            harness.checkpoint_and_continue(session.process, session.image)
            time.sleep(0.05)
            if session.process.ended():
                raise harness.Failure(f"CKPT_CONTINUE={value} {options}: it has ended")
            session.end()
        else:
            harness.checkpoint_and_exit(session.process, session.image)


def periods(setup):
    for env, options in ((None, ("-z", "150")), ({"CKPT_MSPERIOD": "150"}, ()),
                         (None, ("--period=150",))):
        start = time.monotonic()    # the period begins before the program does
        session = launch(setup, env, ["-n", "image.ckpt", *options])
        count, last = 0, None
        while count < 4:
            if session.process.ended(0.004):
                raise harness.Failure(f"ended with {session.process.status} after {count} images: "
                                      f"{session.process.stderr()!r}")
            now = harness.identity(session.image)
            if now != last:
                count, last = count + 1, now
            if time.monotonic() - start > 30:
                raise harness.Failure(session.process.hang(f"{count} images in 30 s"))
        if time.monotonic() - start < 0.6:
            raise harness.Failure("four images in less than four periods")
        session.process.kill()
        session.output = session.process.out.all()
        # The restarted program keeps its period.
        session.restart()
        before = harness.identity(session.image)
        session.process.wait_until(lambda: harness.identity(session.image) != before,
                                   "an image by the period after a restart")
        session.end()
    session = launch(setup, {"CKPT_CONTINUE": "0"}, ["-n", "image.ckpt", "-z", "150"])
    if session.process.wait(20) != 0 or not session.image.exists():
        raise harness.Failure("CKPT_CONTINUE=0 with a period")
    session.output = session.process.out.all()
    # Zero is none; and the program never learns of a period that it does not have.
    session = launch(setup, None, ["-n", "image.ckpt", "-z", "0"])
    time.sleep(0.3)
    if session.image.exists():
        raise harness.Failure("-z 0 has made an image")
    session.end()


def sleeping_period(setup):
    """A period interrupts no sleep: that is the program's time."""
    session = harness.Session(setup)
    argv = session.script("""
ready()
import signal
n = 0
while not os.path.exists("stop"):
    t = time.monotonic(); time.sleep(0.1); n += 1
    assert time.monotonic() - t > 0.0999, "early"
assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0), "a timer that the program did not set"
os.write(1, b"ok\\n")
""")
    session.start(argv, "-z", "40")
    session.process.wait_until(session.image.exists, "an image")
    time.sleep(0.5)
    session.end()


def bad_values(setup):
    for preload in (False, True):
        for variable, value in (("CKPT_ASYNCSIG", "SIGFROB"), ("CKPT_ASYNCSIG", "4711"),
                                ("CKPT_ASYNCSIG", "KILL"), ("CKPT_CONTINUE", "perhaps"),
                                ("CKPT_MSPERIOD", "often"), ("CKPT_MSPERIOD", "-5"),
                                ("CKPT_NAME", "x" * 1500)):
            session = harness.Session(setup)
            session.IMAGE = "tick.ckpt"
            session.image = session.cwd / "tick.ckpt"
            program = session.victim("tick")
            env = {variable: value}
            if preload:
                env["LD_PRELOAD"] = str(setup.library)
            process = session.launch(program if preload else [setup.ckpt, *program], env=env)
            process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a line about " + variable)
            said = process.err.seen().decode()
            # A name that is too long is told by its length, other values are shown.
            shown = "1500 characters.*1023" if len(value) > 1023 else re.escape(value)
            harness.expect_line(f"{variable}={value[:20]}", said, variable, shown)
            # The default holds.
            harness.checkpoint_and_exit(process, session.image, said=said)


def once_per_tree(setup):
    cwd = setup.directory("work")
    env = {"LD_PRELOAD": str(setup.library), "CKPT_ASYNCSIG": "SIGFROB"}
    status, out, err = setup.run(
        ["/bin/sh", "-c", "/bin/true; /bin/sh -c '/bin/true; /bin/true'; /bin/echo done"], cwd,
        env=env)
    if (status, out) != (0, "done\n"):
        raise harness.Failure(f"status {status}, stdout {out!r}, stderr {err!r}")
    harness.expect_line("a bad value in a tree of processes", err, "CKPT_ASYNCSIG", "SIGFROB")


def course(setup):
    """LD_PRELOAD=/abs/libckpt.so ./myprog; kill -12; kill -9; ./myrestart myckpt."""
    session = launch(setup, {"CKPT_NAME": "myckpt", "CKPT_ASYNCSIG": "12", "CKPT_CONTINUE": "1"},
                     image="myckpt", preload=True)
    for _ in range(3):
        before = harness.identity(session.image)
        session.process.signal(12)
        session.process.wait_until(lambda: harness.identity(session.image) != before, "an image")
        harness.check_image(setup, session.image)
    session.process.kill()
    session.output = session.process.out.all()
    session.restart(armed=False, via=setup.restart)
    session.process.wait_armed(12)
    session.end()


def preload_view(setup):
    cwd = setup.directory("work")
    show = "import os; print(os.environ.get('LD_PRELOAD')); print(sorted(k for k in os.environ if k.startswith('CKPT')))"
    python = ["/usr/bin/python3", "-I", "-S", "-c"]
    mine = next((path for path in ("/lib/x86_64-linux-gnu/libm.so.6", "/usr/lib64/libm.so.6")
                 if os.path.exists(path)), None)
    for env in ({}, {"LD_PRELOAD": mine} if mine else {}):
        bare = setup.run([*python, show], cwd, env=env)
        got = setup.run([setup.ckpt, "-n", "x.ckpt", "-a", "USR2", *python, show], cwd, env=env)
        if bare != got:
            raise harness.Failure(f"the program sees {got!r} instead of {bare!r}")
        # What the kernel shows, too: exactly, or with zeroes where the user's own value was longer.
        raw = "import sys; sys.stdout.write(open('/proc/self/environ').read())"
        bare = setup.run([*python, raw], cwd, env=env)
        got = setup.run([setup.ckpt, "-n", "x.ckpt", "-a", "USR2", *python, raw], cwd, env=env)
        if env:
            bare, got = ((status, sorted(filter(None, out.split("\0"))), err)
                         for status, out, err in (bare, got))
        if bare != got:
            raise harness.Failure(f"/proc/self/environ: {got!r} instead of {bare!r}")
        command = ["/bin/sh", "-c", "echo \"<$LD_PRELOAD>\"; env | grep -c CKPT"]
        bare = setup.run(command, cwd, env=env)
        got = setup.run([setup.ckpt, *command], cwd, env=env)
        if bare != got:
            raise harness.Failure(f"{command}: {got!r} instead of {bare!r}")
    if mine:
        # In the program: both. In what it starts: the user's own.
        maps = "import os; print(open('/proc/self/maps').read()); os.system('cat /proc/self/maps > child')"
        status, out, err = setup.run([setup.ckpt, *python, maps], cwd, env={"LD_PRELOAD": mine})
        child = (cwd / "child").read_text()
        if status or err or "libckpt" not in out or "libm.so" not in out:
            raise harness.Failure(f"in the program: {status} {err!r}, libckpt "
                                  f"{'libckpt' in out}, libm {'libm.so' in out}")
        if "libckpt" in child or "libm.so" not in child:
            raise harness.Failure("the child of a program that ckpt started: libckpt "
                                  f"{'libckpt' in child}, the user's own {'libm.so' in child}")
    # Brought in by LD_PRELOAD the library stays, for children too.
    status, out, err = setup.run(["/bin/sh", "-c", "cat /proc/self/maps; echo \"<$LD_PRELOAD>\""], cwd,
                                 env={"LD_PRELOAD": str(setup.library)})
    if status or err or "libckpt" not in out or f"<{setup.library}>" not in out:
        raise harness.Failure(f"LD_PRELOAD of the user's: {status} {err!r} …{out[-200:]!r}")


SPAWNERS = {
    "fork and exec": "import os\npid = os.fork()\nif pid == 0: os.execv(A[0], A)\nos.waitpid(pid, 0)",
    "posix_spawn": "import os\nos.waitpid(os.posix_spawn(A[0], A, os.environ), 0)",
    "vfork": "import subprocess\nsubprocess.run(A, close_fds=False)",
    "an emptied environment": "import os\nos.environ.clear()\npid = os.fork()\n"
                              "if pid == 0: os.execv(A[0], A)\nos.waitpid(pid, 0)",
    "no environment": "import subprocess\nsubprocess.run(A, env={})",
}


def started(setup):
    """What a program starts has the agent when LD_PRELOAD has brought it, and not when ckpt has."""
    cwd = setup.directory("work")
    look = "/bin/grep -q libckpt /proc/self/maps && echo with || echo without"
    (cwd / "Makefile").write_text("all: a b c d\na b c d:\n\t@" + look + "\n")
    commands = {name: ["/usr/bin/python3", "-I", "-c", f"A = ['/bin/sh', '-c', {look!r}]\n{text}"]
                for name, text in SPAWNERS.items()}
    commands["a pipeline"] = ["/bin/sh", "-c", f"true | {{ {look}; }} | cat; ({look}); {look} & wait"]
    commands["env -i"] = ["/usr/bin/env", "-i", "/bin/sh", "-c", look]
    if os.path.exists("/usr/bin/make"):
        commands["make -j"] = ["/usr/bin/make", "-s", "-j4", "-f", "Makefile"]
    huge = {f"HUGE{i}": "x" * 100_000 for i in range(12)}
    for name, command in commands.items():
        for env in ({}, huge):
            status, out, err = setup.run([setup.ckpt, *command], cwd, env=env)
            if status or err or set(out.split()) != {"without"}:
                raise harness.Failure(f"{name} under ckpt: {status} {out!r} {err!r}")
            status, out, err = setup.run(command, cwd, env={"LD_PRELOAD": str(setup.library), **env})
            has = "without" if name in ("an emptied environment", "no environment", "env -i") else "with"
            if status or err or set(out.split()) != {has}:
                raise harness.Failure(f"{name} under LD_PRELOAD: {status} {out!r} {err!r}")
    # One that takes no library runs as ever.
    if setup.victims and (setup.victims / "static_brk").exists():
        child = setup.victim("static_brk", cwd)
        (cwd / "stop").touch()
        status, out, err = setup.run(["/bin/sh", "-c", f"{child} stop; echo $?"], cwd,
                                     env={"LD_PRELOAD": str(setup.library)})
        if status or err or not out.endswith("0\n"):
            raise harness.Failure(f"a static child: {status} {out!r} {err!r}")


def empty_and_odd(setup):
    """Nothing of an inherited environment harms a program."""
    cwd = setup.directory("work")
    library = str(setup.library)
    for env in ({"CKPT_NAME": ""}, {"CKPT_ASYNCSIG": ""}, {"CKPT_CONTINUE": ""},
                {"CKPT_MSPERIOD": ""}, {"CKPT_FILES": "nonsense"}, {"CKPT_UNKNOWN": "x"}):
        status, out, err = setup.run(["/bin/echo", "fine"], cwd, env={"LD_PRELOAD": library, **env})
        if (status, out) != (0, "fine\n") or len(err.splitlines()) > 1:
            raise harness.Failure(f"{env}: {status} {out!r} {err!r}")


def own_handler(setup):
    """A program that takes the trigger signal for itself keeps it; another one goes to ckpt."""
    session = harness.Session(setup)
    argv = session.script("""
import signal
hits = []
signal.signal(signal.SIGTSTP, lambda *_: hits.append(1))
ready()
while not hits: time.sleep(0.002)
wait()
os.write(1, b"ok\\n")
""")
    process = session.start(argv)
    process.signal(harness.TRIGGER)
    time.sleep(0.1)
    session.end()


def body(setup):
    harness.run_cases(setup, [(name, (lambda case: lambda: case(setup))(case)) for name, case in (
        ("names", names), ("signals", signals), ("continue", continues), ("periods", periods),
        ("a period and a sleep", sleeping_period), ("bad values", bad_values),
        ("one line for a tree", once_per_tree), ("the course's way", course),
        ("LD_PRELOAD", preload_view), ("what it starts", started), ("odd environments", empty_and_odd),
        ("a handler of the program's", own_handler))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
