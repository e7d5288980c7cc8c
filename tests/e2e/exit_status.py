#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Exit statuses and usage: the program's own status, its killing signal too, through ckpt and through
a restart; 125, 126 and 127 where ckpt has something to say itself."""

import os
import re
import signal
import sys

import harness


def expect(label, got, wanted):
    if got != wanted:
        raise harness.Failure(f"{label}: {got!r} instead of {wanted!r}")


def passes_through(setup):
    cwd = setup.directory("work")
    for status in (0, 1, 7, 77, 125, 127, 255):
        got = setup.run([setup.ckpt, "sh", "-c", f"exit {status}"], cwd)
        expect(f"exit {status}", got, (status, "", ""))
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGPIPE):
        got = setup.run([setup.ckpt, "sh", "-c", f"ulimit -c 0; kill -{int(number)} $$"], cwd)
        expect(f"killed by {number.name}", got, (-number, "", ""))
    if os.listdir(cwd):
        raise harness.Failure(f"left in the directory: {os.listdir(cwd)}")


def arguments(setup):
    cwd = setup.directory("work")
    words = ["-n", "--", "", "a b", "*", "--help", "\u00e4"]
    status, out, err = setup.run([setup.ckpt, "/usr/bin/python3", "-I", "-S", "-c",
                                  "import sys; print(sys.argv[1:])", *words], cwd)
    expect("arguments", (status, out, err), (0, f"{words!r}\n", ""))
    # Options end at the first word that is none; -- ends them, too.
    expect("ckpt echo -n", setup.run([setup.ckpt, "echo", "-n", "x"], cwd), (0, "x", ""))
    expect("ckpt -- echo", setup.run([setup.ckpt, "--", "echo", "x"], cwd), (0, "x\n", ""))


def after_restart(setup):
    for status in (0, 3, 125, 255, -signal.SIGTERM, -signal.SIGKILL, -signal.SIGABRT):
        session = harness.Session(setup)
        session.start(session.victim("tick", "0", str(status)))
        session.checkpoint()
        session.restart()
        session.end(status)
    # A signal from outside, after a restart.
    session = harness.Session(setup)
    session.start(session.victim("tick"))
    session.checkpoint()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGHUP):
        process = session.restart()
        process.signal(number)
        expect(f"{number.name} from outside", process.wait(), -number)
        expect("stderr", process.stderr(), "")


def own_status(setup):
    cwd = setup.directory("work")
    (cwd / "data").write_text("no program")
    os.chmod(cwd / "data", 0o644)
    (cwd / "directory").mkdir()
    setup.give(cwd)
    for label, words, status, said in (
            ("no such program", ["./nonexistent"], 127, "nonexistent"),
            ("not in PATH", ["no-such-program-anywhere"], 127, "no-such-program-anywhere"),
            ("not executable", ["./data"], 126, "data"),
            ("a directory", ["./directory"], 126, "directory")):
        got, out, err = setup.run([setup.ckpt, *words], cwd)
        harness.expect_refusal(label, got, out, err, said, status_wanted=status)


def usage(setup):
    cwd = setup.directory("work")
    faults = []
    for words in (["--frobnicate", "true"], ["-y", "true"], [], ["-n"], ["-c"], ["-z"],
                  ["-z", "often", "true"], ["-a", "SIGFROB", "true"], ["-a", "-3", "true"],
                  ["-a", "4711", "true"]):
        status, out, err = setup.run([setup.ckpt, *words], cwd)
        if status != harness.REFUSED or out:
            faults.append(f"ckpt {words}: status {status}, stdout {out!r}, stderr {err!r}")
        elif not err.startswith(("ckpt: ", "usage: ", "Usage: ")):
            faults.append(f"ckpt {words}: stderr {err!r}")
        elif words[:1] in (["--frobnicate"], ["-y"], []) and "usage" not in err.lower():
            faults.append(f"ckpt {words}: no usage in {err!r}")
    # With -p no program's status stands beside it, and usage is 2 as with readckpt.
    for words in (["-p"], ["--pid"], ["-p", "often"], ["-p", "1", "true"], ["-p", "1", "--exit-code", "1"],
                  ["-p", "1", "-z", "often"], ["-p", "1", "--frobnicate"]):
        status, out, err = setup.run([setup.ckpt, *words], cwd)
        if status != 2 or out or not err.startswith(("ckpt: ", "usage: ")):
            faults.append(f"ckpt {words}: status {status}, stdout {out!r}, stderr {err!r}")
    for option, word in (("--help", "usage"), ("--version", r"\d+\.\d+")):
        status, out, err = setup.run([setup.ckpt, option], cwd)
        if status != 0 or err or not re.search(word, out, re.I):
            faults.append(f"{option}: status {status}, stdout {out[:200]!r}, stderr {err!r}")
    if os.listdir(cwd):
        faults.append(f"left in the directory: {os.listdir(cwd)}")
    if faults:
        raise harness.Failure("\n".join(faults))


def long_name(setup):
    cwd = setup.directory("work")
    status, out, err = setup.run([setup.ckpt, "-n", "x" * 1024, "true"], cwd)
    harness.expect_refusal("a name of 1024 characters", status, out, err, "name", "long|1023")


def script_program(setup):
    """A script is run by its interpreter, and it is that which is checkpointed."""
    session = harness.Session(setup)
    script = session.cwd / "script"
    script.write_text("#!/usr/bin/python3 -IS\n" + harness.PRELUDE + "ready()\nwait()\n"
                      "os.write(1, b'ok\\n')\n")
    os.chmod(script, 0o755)
    session.start(["./script"])
    session.checkpoint()
    session.restart()
    session.end()


def default_name(setup):
    session = harness.Session(setup)
    program = session.victim("tick")
    session.image = session.cwd / "tick.ckpt"
    session.launch([setup.ckpt, *program])
    session.checkpoint()
    session.IMAGE = "tick.ckpt"
    session.restart()
    session.end()


def stdin_comes_along(setup):
    """`ckpt` and the image read standard input as the program would."""
    cwd = setup.directory("work")
    read, write = os.pipe()
    os.write(write, b"through\n")
    os.close(write)
    got = setup.run([setup.ckpt, "cat"], cwd, stdin=read)
    os.close(read)
    expect("cat", got, (0, "through\n", ""))


def body(setup):
    harness.run_cases(setup, [(name, (lambda case: lambda: case(setup))(case)) for name, case in (
        ("statuses pass through", passes_through), ("arguments pass through", arguments),
        ("after a restart", after_restart), ("126 and 127", own_status), ("usage", usage), ("a long name", long_name),
        ("a script", script_program),
        ("default name", default_name), ("standard input", stdin_comes_along))])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
