#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The program is process 1 of a PID namespace, as in a container: orphans, the helper among them,
become its children, which it must not notice."""
import os
import subprocess
import sys
import tempfile

SKIPPED = 77
NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def main():
    ckpt, program = map(os.path.abspath, sys.argv[1:])
    if os.geteuid() != 0:
        NAMESPACE[1:1] = ["--user", "--map-root-user"]
    probe = subprocess.run([*NAMESPACE, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        print(f"no PID namespace here: {probe.stderr.strip()}")
        return SKIPPED
    with tempfile.TemporaryDirectory() as directory:
        for options, expected in (([], (0, "")), (["-c"], (7, "the clocks run\n"))):
            command = [*NAMESPACE, ckpt, *options, "-n", "one.ckpt", "-a", "USR1", program]
            for arguments, wanted in ((command, expected),
                                      ([*NAMESPACE, "./one.ckpt"], (7, "the clocks run\n"))):
                done = subprocess.run(arguments, cwd=directory, stdin=subprocess.DEVNULL,
                                      timeout=60, capture_output=True, text=True)
                if (done.returncode, done.stdout, done.stderr) != (*wanted, ""):
                    print(arguments, done)
                    return 1
    return 0


sys.exit(main())
