# SPDX-License-Identifier: MIT
"""When a checkpoint has been refused, or the program goes on after one, nobody holds what the program has
open: a file that it has written and closed can be run, a pipe that it closes has an end."""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

ROUNDS = 300
PROGRAM = r"""
import ctypes, os, shutil, socket, sys
c = ctypes.CDLL(None)
rounds, image, busy, open_ends = int(sys.argv[1]), sys.argv[2].encode(), 0, 0
if sys.argv[3] == "refused":
    why = socket.socket()
true = open("/bin/true", "rb").read()
for i in range(rounds):
    name = f"true{i}"
    fd = os.open(name, os.O_WRONLY | os.O_CREAT, 0o700)
    os.write(fd, true)
    a, b = os.pipe()
    done = c.ckpt_ckpt(image)
    assert done == (-1 if sys.argv[3] == "refused" else 0), done
    os.close(fd)
    os.close(b)
    os.set_blocking(a, False)
    try:
        os.read(a, 1)
    except BlockingIOError:
        open_ends += 1
    os.close(a)
    try:
        os.waitpid(os.posix_spawn("./" + name, [name], {}), 0)
    except OSError as error:
        assert error.errno == 26, error
        busy += 1
    os.unlink(name)
print(busy, open_ends)
"""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--victims")
    parser.add_argument("--user")
    given = parser.parse_args()
    library = os.path.abspath(given.bin) + "/lib/libckpt.so"
    failed = 0
    for how in ("refused", "made"):
        with tempfile.TemporaryDirectory() as scratch:
            done = subprocess.run([sys.executable, "-c", PROGRAM, str(ROUNDS if how == "refused" else 20), scratch + "/image", how],
                                  cwd=scratch, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                                  env={**os.environ, "LD_PRELOAD": library, "CKPT_CONTINUE": "1"})
        good = done.stdout.strip() == "0 0"
        failed += not good
        last = done.stderr.strip().splitlines()[-1:] if not good else []
        print(f"{'ok' if good else 'FAILED'} {how}: {done.stdout.strip()} files busy, pipes open {last}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
