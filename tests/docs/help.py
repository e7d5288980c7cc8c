#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""--help fits a screen, 24 lines of less than 80 columns, and has every option of the table;
--version says the version. For ckpt, ckpt-restart, readckpt and an image."""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import harness

LINES, COLUMNS = 24, 79


def options(setup):
    """The rows of the table, as the generator of the manual lists them."""
    text = subprocess.run([setup.options.fill, "--list"], capture_output=True, text=True,
                          check=True).stdout
    rows = [line.split("\t") for line in text.splitlines()]
    if len(rows) < 10:
        raise harness.Failure(f"only {len(rows)} options in the table")
    return rows


def screen(setup, name, argv, reader):
    faults = []
    status, out, err = setup.run([*argv, "--help"], setup.scratch)
    if status != 0 or err:
        faults.append(f"status {status}, stderr {err!r}")
    lines = out.splitlines()
    if len(lines) > LINES:
        faults.append(f"{len(lines)} lines, a screen has {LINES}")
    faults += [f"{len(line)} columns: {line}" for line in lines if len(line) > COLUMNS]
    for long_name, short, _, readers, brief in options(setup):
        if reader not in readers or long_name == "-":
            continue
        form = f"--{long_name}" if short == "-" else f"-{short}, --{long_name}"
        if form not in out or not brief or brief not in out:
            faults.append(f"nothing of {form} ({brief})")
    status, out, err = setup.run([*argv, "--version"], setup.scratch)
    if status != 0 or err or setup.options.version not in out:
        faults.append(f"--version: status {status}, stdout {out!r}, stderr {err!r}")
    if faults:
        raise harness.Failure("\n  ".join([name, *faults]))


def briefs(setup):
    long = [brief for *_, brief in options(setup) if not 0 < len(brief) <= 40]
    if long:
        raise harness.Failure(f"not 1 to 40 characters: {long}")


def image(setup):
    session = harness.Session(setup)
    session.start(session.script("ready()\nwait()\n"))
    session.checkpoint()
    screen(setup, "an image", [session.image], "r")


def body(setup):
    harness.run_cases(setup, [
        ("briefs", lambda: briefs(setup)),
        ("ckpt", lambda: screen(setup, "ckpt", [setup.ckpt], "c")),
        ("ckpt-restart", lambda: screen(setup, "ckpt-restart", [setup.restart], "r")),
        ("readckpt", lambda: screen(setup, "readckpt", [setup.readckpt], "none")),
        ("an image", lambda: image(setup))])


if __name__ == "__main__":
    parser = harness.parser(__doc__)
    parser.add_argument("--fill", required=True, help="the program fill_template")
    parser.add_argument("--version", required=True)
    sys.exit(harness.main(parser, body))
