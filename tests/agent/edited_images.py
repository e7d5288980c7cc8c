#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Images from another kernel or machine, and images whose checksums are right but whose content is
not: they run correctly or are refused in one line with status 125, run directly and through
ckpt-restart alike."""
import os
import subprocess
import sys
import tempfile

RUNS = (7, "the clocks run\n", "")
EXPECTED = {
    "nothing": RUNS,
    "other-vdso": RUNS,
    "more-cpu": "this processor lacks ",
    "newer-version": "format version 2.1 is not one this ckpt reads",
    "architecture": "another architecture",
    "being-updated": "incomplete",
    "no-agent": "no agent",
    "segment-over-restarter": "",
    "segment-wraps": "impossible address",
    "extent-count": "wrong size",
    "descriptor-of-no-file": "descriptors are out of order",
}


def run(arguments, directory):
    done = subprocess.run(arguments, cwd=directory, stdin=subprocess.DEVNULL, timeout=60,
                          capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def main():
    ckpt, restart, editor, program = map(os.path.abspath, sys.argv[1:])
    failures = 0
    with tempfile.TemporaryDirectory() as directory:
        made = run([ckpt, "-n", "good.ckpt", "-a", "USR1", program], directory)
        if made != (0, "", ""):
            print(f"no image: {made}")
            return 1
        for kind, expected in EXPECTED.items():
            edited = run([editor, kind, "good.ckpt", f"{kind}.ckpt"], directory)
            if edited[0] != 0:
                print(f"{kind}: cannot edit the image: {edited}")
                failures += 1
                continue
            for way in ([f"./{kind}.ckpt"], [restart, f"{kind}.ckpt"]):
                got = run(way, directory)
                if expected == RUNS:
                    good = got == RUNS
                else:
                    status, out, err = got
                    good = (status == 125 and out == "" and err.startswith("ckpt: ")
                            and err.count("\n") == 1 and expected in err)
                if not good:
                    print(f"{kind} by {way[0]}: {got}")
                    failures += 1
    return 1 if failures else 0


sys.exit(main())
