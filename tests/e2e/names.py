#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What images are called: patterns, limits, and names that belong to another process that lives."""

import os
import re
import signal
import sys
import time

import harness

HOST = os.uname().nodename.replace("/", "_")


def images(session):
    return sorted(name for name in os.listdir(session.cwd)
                  if name.startswith(session.IMAGE[:2]) and "partial" not in name)


def trigger_new(session, process, what="a new image"):
    """Triggers, and says under which name the image has come."""
    def all_of():
        return {name: harness.identity(session.cwd / name) for name in images(session)}
    before = all_of()
    process.signal(harness.TRIGGER)
    process.wait_until(lambda: all_of() != before, what)
    now = all_of()
    changed = [name for name in now if now[name] != before.get(name)]
    if len(changed) != 1:
        raise harness.Failure(f"{what}: {changed} instead of one image")
    return changed[0]


def expect(what, got, wanted):
    if got != wanted:
        raise harness.Failure(f"{what}: {got!r} instead of {wanted!r}")


def patterns(setup):
    session = harness.Session(setup, "50% of %n")
    session.IMAGE = "im.%n-%p-%h-%%"
    argv = session.script("import os\nhere = os.getcwd()\nos.chdir('/')\nready()\n"
                          "while not os.path.exists(here + '/stop'): time.sleep(0.004)\n"
                          "print('ok', flush=True)\n")
    process = session.start(argv, "-c")
    for number in (1, 2):
        expect("a pattern", trigger_new(session, process), f"im.{number}-{process.pid}-{HOST}-%")
    first = f"im.1-{process.pid}-{HOST}-%"
    process.kill()
    session.IMAGE = first
    process = session.restart()
    # The number goes on where the image left it; the process is the one the shell knows, or the
    # program itself where it has its number in this very namespace.
    name = trigger_new(session, process)
    if name not in {f"im.2-{pid}-{HOST}-%" for pid in (process.pid, process.program())}:
        raise harness.Failure(f"after a restart as {process.pid}: {name}")
    session.output = b"ready\n"
    session.end()


def times(setup):
    session = harness.Session(setup)
    process = session.launch(session.victim("tick"),
                             env={"LD_PRELOAD": str(setup.library), "CKPT_NAME": "im.%t",
                                  "CKPT_CONTINUE": "1"})
    before = int(time.time())
    name = trigger_new(session, process)
    after = int(time.time())
    wanted = [time.strftime("im.%Y%m%dT%H%M%SZ", time.gmtime(at)) for at in range(before, after + 1)]
    if name not in wanted:
        raise harness.Failure(f"{name} is none of {wanted}")
    session.end()


def limits(setup):
    """1,023 characters are a name, and 1,024 are not; a component has at most 255."""
    session = harness.Session(setup)
    program = session.victim("tick")
    step = "/".join(["d" * 99] * 8)
    (session.cwd / step).mkdir(parents=True)
    setup.give(session.cwd)
    longest = step + "/" + "im" + "x" * (1023 - len(step) - 3)
    expect("a test of its own", len(longest), 1023)
    session.image = session.cwd / longest
    for preload in (False, True):
        session.go_on()
        env = {"CKPT_NAME": longest, "CKPT_CONTINUE": "1"}
        if preload:
            env["LD_PRELOAD"] = str(setup.library)
        process = session.launch(program if preload else [setup.ckpt, *program], env=env)
        harness.checkpoint_and_continue(process, session.image)
        harness.check_image(setup, session.image)
        session.output = b""
        session.end()
        session.image.unlink()
        status, out, err = setup.run([setup.ckpt, "-n", longest + "x", *program], session.cwd)
        harness.expect_refusal("1,024 characters", status, out, err, "1024 characters.*1023")
    # The whole path may be longer than a path may be; then there is no image, and the program goes on.
    for name, word in (("im" + "y" * 253, None), ("im" + "y" * 254, "more than 255"),
                       ("%p" * 120 + "y" * 40, "more than 255"),
                       ("/".join(["%h" * 30] * 16 + ["x"]) if len(HOST) * 480 > 4096 else
                        "/".join(["%t" * 15] * 17 + ["x"]), "more than 4095")):
        session.go_on()
        session.IMAGE = name
        session.image = session.cwd / name
        process = session.start(program, "-c")
        if word is None:
            harness.checkpoint_and_continue(process, session.image)
            harness.check_image(setup, session.image)
            session.end()
            continue
        process.signal(harness.TRIGGER)
        process.wait_until(lambda: process.err.seen().endswith(b"\n"), "a line")
        said = process.err.seen().decode()
        harness.expect_line(name, said, "no checkpoint", word)
        session.end(stderr=said)
    listing = [name for name in os.listdir(session.cwd) if "partial" in name]
    expect("left behind", listing, [])


def refused(setup):
    """What is no name is an error at the command, and a line in the agent."""
    cwd = setup.directory("work")
    for name, word in (("", "0 characters"), ("a%q", "%q"), ("100%", "%, which"), ("there/", "directory"),
                       ("http://host/x", "does not know"), ("x" * 1024, "1023")):
        status, out, err = setup.run([setup.ckpt, "-n", name, "/bin/echo", "no"], cwd)
        harness.expect_refusal(f"-n {name[:20]!r}", status, out, err, word)
        if not name:
            continue
        for argv, env in (([setup.ckpt, "/bin/echo", "fine"], {}),
                          (["/bin/echo", "fine"], {"LD_PRELOAD": str(setup.library)})):
            status, out, err = setup.run(argv, cwd, env={"CKPT_NAME": name, **env})
            expect(f"CKPT_NAME={name[:20]!r}", (status, out), (0, "fine\n"))
            harness.expect_line(f"CKPT_NAME={name[:20]!r}", err, "CKPT_NAME", word, "ignored")
            # The command line wins, so what it overrides is nobody's business; nor under --quiet.
            if argv[0] == setup.ckpt:
                for more in (["-n", "good"], ["--quiet"], ["-q"]):
                    expect(f"CKPT_NAME={name[:20]!r} {more}",
                           setup.run([argv[0], *more, *argv[1:]], cwd, env={"CKPT_NAME": name}),
                           (0, "fine\n", ""))
            else:
                expect("CKPT_QUIET", setup.run(argv, cwd, env={"CKPT_NAME": name, "CKPT_QUIET": "1",
                                                              **env}), (0, "fine\n", ""))


def of_another(setup):
    """Three programs with one name: the first has it, the others say once what they write."""
    session = harness.Session(setup)
    command = [setup.ckpt, "-c", "-n", session.IMAGE, *session.victim("tick")]
    first, second, third = (session.launch(command) for _ in range(3))
    expect("the first", trigger_new(session, first), session.IMAGE)
    for other in (second, third):
        own = f"{session.IMAGE}.{other.pid}"
        for _ in range(3):
            expect("another", trigger_new(session, other), own)
        harness.expect_line("another", other.err.seen().decode(), rf"{other.pid} writes \S+{own}\b",
                            r"belongs to another process$")
    expect("the first again", trigger_new(session, first), session.IMAGE)
    expect("what the first says", first.err.seen(), b"")
    for name in images(session):
        status, _, err = setup.run([setup.readckpt, "verify", session.cwd / name], session.cwd)
        expect(f"verify {name}: {err}", status, 0)
    first.kill()
    # The name is nobody's now; but who has another keeps it, whatever lies under the first is
    # somebody's last image.
    expect("another, still", trigger_new(session, second), f"{session.IMAGE}.{second.pid}")
    third.kill()
    said = third.err.seen()
    fourth = session.launch(command)
    expect("a new one", trigger_new(session, fourth), session.IMAGE)
    expect("what the new one says", fourth.err.seen(), b"")
    # An image under another name goes on under that.
    own = f"{session.IMAGE}.{third.pid}"
    session.IMAGE, session.image = own, session.cwd / own
    restarted = session.restart()
    expect("restarted", trigger_new(session, restarted), own)
    expect("what the restarted one says", restarted.err.seen(), b"")
    session.stop()
    for process in (second, fourth, restarted):
        expect("the end", process.wait(), 0)


def killed_any_time(setup):
    """No kill leaves a name that nobody can have."""
    session = harness.Session(setup)
    command = [setup.ckpt, "-c", "-n", session.IMAGE, *session.victim("tick", "16")]
    for _ in range(12):
        process = session.launch(command)
        process.signal(harness.TRIGGER)
        time.sleep(setup.random.random() * 0.03)
        process.kill()
        setup.check_nothing_left()  # a helper that waits for the disk still has the name
        process = session.launch(command)
        expect("after a kill", trigger_new(session, process), session.IMAGE)
        expect("what it says", process.err.seen(), b"")
        process.kill()


def meeting(setup):
    """Programs that want one name at the same instant."""
    session = harness.Session(setup)
    command = [setup.ckpt, "-c", "-n", session.IMAGE, *session.victim("tick", "4")]
    processes = [session.launch(command) for _ in range(8)]
    for _ in range(4):
        for process in processes:
            process.signal(harness.TRIGGER)
        end = time.monotonic() + 20
        while len(images(session)) != len(processes):
            if time.monotonic() > end:
                raise harness.Failure(f"{images(session)}: not an image each; they say "
                                      f"{[process.err.seen() for process in processes]}")
            time.sleep(0.01)
    session.stop()
    for process in processes:
        expect("the end", process.wait(), 0)
    # One has kept the name.
    own = {f"{session.IMAGE}.{process.pid}" for process in processes}
    found = set(images(session))
    expect("names beside the common one", len(found & own), len(processes) - 1)
    expect("the common one", found - own, {session.IMAGE})
    for name in found:
        status, _, err = setup.run([setup.readckpt, "verify", session.cwd / name], session.cwd)
        expect(f"verify {name}: {err}", status, 0)


def copies(setup):
    """Many copies of one image, each with images of its own that go on."""
    session = harness.Session(setup)
    session.start(session.victim("tick"), "-c")
    trigger_new(session, session.process)
    session.process.kill()
    count = 10
    running = [session.restart() for _ in range(count)]
    names = {trigger_new(session, process): process for process in running}
    expect("images of copies", len(names), count)
    again = {trigger_new(session, process): process for process in running}
    if again != names:
        raise harness.Failure(f"{sorted(again)} instead of {sorted(names)} the second time")
    silent = [process for process in running if not process.err.seen()]
    expect("copies that say nothing", len(silent), 1)
    for process in running:
        process.kill()
    for name in names:
        session.IMAGE = name
        session.output = b""
        session.restart()
        session.end(output=b"ok\n")
        session.go_on()
    # They are all dead: who begins anew has the name.
    session.IMAGE = harness.Session.IMAGE
    expect("anew", trigger_new(session, session.start(session.victim("tick"), "-c")), session.IMAGE)


FORKS = """
import signal
pids = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        while not os.path.exists("stop"): time.sleep(0.004)
        os._exit(0)
    pids.append(pid)
os.write(1, b"%d %d\\n" % tuple(pids))
ready()
while not os.path.exists("stop"): time.sleep(0.004)
for pid in pids: os.waitpid(pid, 0)
os.write(1, b"ok\\n")
"""


def of_the_past(setup):
    """What a program wrote after the image it is restarted from is in nobody's way, also when its
    end cannot be seen from a namespace."""
    session = harness.Session(setup)
    session.IMAGE = "im.%n"
    process = session.start(session.victim("tick"), "-c")
    for number in (1, 2, 3):
        expect("a name", trigger_new(session, process), f"im.{number}")
    process.kill()
    for number in (1, 2):
        session.IMAGE = f"im.{number}"
        process = session.restart()
        session.IMAGE = "im.%n"
        for later in range(number + 1, 4):
            expect("a name of the past", trigger_new(session, process), f"im.{later}")
        process.kill()
        expect("what is said", process.stderr(), "")
    expect("images", images(session), ["im.1", "im.2", "im.3"])


def children(setup):
    """Forked children write names of their own, under a pattern with %p without another word."""
    for pattern, name, silent in (("im", "im.{}", False), ("im-%p", "im-{}", True),
                                  ("im-%n", "im-1.{}", False)):
        session = harness.Session(setup)
        session.IMAGE = "im"
        process = session.launch(session.script(FORKS),
                                 env={"LD_PRELOAD": str(setup.library), "CKPT_NAME": pattern,
                                      "CKPT_CONTINUE": "1"})
        pids = [int(word) for word in process.out.seen().split()[:2]]
        for pid in pids:
            before = images(session)
            os.kill(pid, harness.TRIGGER)
            process.wait_until(lambda: images(session) != before, "an image of a child")
            expect("a child's image", sorted(set(images(session)) - set(before)), [name.format(pid)])
        lines = process.err.seen().decode().splitlines()
        expect("lines", len(lines), 0 if silent else 2)
        for line in lines:
            harness.expect_line("a child", line, "is a child of")
        session.stop()
        expect("the end", process.wait(), 0)


def inherited(setup):
    """What a program starts inherits its variables, its name too, and does not take it away."""
    session = harness.Session(setup)
    session.IMAGE = "im"
    tick = session.victim("tick")
    process = session.launch(["/bin/sh", "-c", f"{tick[0]} stop & {tick[0]} stop & wait; echo over"],
                             env={"LD_PRELOAD": str(setup.library), "CKPT_NAME": "im",
                                  "CKPT_CONTINUE": "1"})
    process.wait_until(lambda: process.out.seen().count(b"ready") == 2, "two children")
    first, second = harness.children_of(process.pid)
    for pid, name in ((first, "im"), (second, f"im.{second}"), (first, "im")):
        before = harness.identity(session.cwd / name)
        os.kill(pid, harness.TRIGGER)
        process.wait_until(lambda: harness.identity(session.cwd / name) != before, name)
    expect("images", images(session), ["im", f"im.{second}"])
    session.stop()
    expect("the end", process.wait(), 0)


def body(setup):
    harness.run_cases(setup, [(name, (lambda case: lambda: case(setup))(case)) for name, case in (
        ("patterns", patterns), ("times", times), ("limits", limits), ("no names", refused),
        ("of another", of_another), ("killed at any time", killed_any_time), ("meeting", meeting),
        ("copies", copies), ("of the past", of_the_past), ("children", children),
        ("inherited", inherited))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
