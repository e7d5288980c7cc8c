#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checkpoints under load: more programs than processors, each frozen again as soon as its image is
there, each image verified. Whatever changes in the program's memory while the image is written
shows as a checksum that does not match; rarely, so what is known to change is looked at as well:
the rseq area, which the kernel writes to when a waiting thread moves to another processor, must
not be registered at that time."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time


def rseq_failure(readckpt, image):
    """The kernel marks the area of a thread that has given it up: cpu_id, its second word, is -1."""
    shown = subprocess.run([readckpt, "threads", "--json", image], capture_output=True, text=True)
    thread = json.loads(shown.stdout)["records"]["thread"][0]
    if thread["rseq_size"] == 0:
        return None  # a libc without rseq
    dump = subprocess.run([readckpt, "dump", image, thread["rseq_address"] + ":8"],
                          capture_output=True, text=True).stdout.split()
    if dump[5:9] != ["ff"] * 4:
        return f"{image.name}: the rseq area was registered while the image was written: {dump}"
    return None


def storm(ckpt, readckpt, program, directory, rounds):
    names = [pathlib.Path(directory, f"{i}.ckpt") for i in range(2 * (os.cpu_count() or 1) + 1)]
    programs = [subprocess.Popen([ckpt, "-c", "-a", "USR1", "-n", name, program],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE) for name in names]
    failures = []
    try:
        for process in programs:
            process.stdout.readline()
        for _ in range(rounds):
            for process in programs:
                process.send_signal(signal.SIGUSR1)
            for name, process in zip(names, programs):
                deadline = time.monotonic() + 30
                while not name.exists():
                    if process.poll() is not None or time.monotonic() > deadline:
                        return failures + [f"{name.name}: no image, status {process.poll()}"]
                    time.sleep(0.0005)
                good = subprocess.run([readckpt, "verify", name], capture_output=True, text=True)
                if good.returncode != 0:
                    failures.append(good.stderr.strip())
                elif failure := rseq_failure(readckpt, name):
                    failures.append(failure)
                name.unlink()
    finally:
        for process in programs:
            process.kill()
            said = process.communicate()[1].decode().strip()
            if said:
                failures.append(said)
    return failures


def main():
    ckpt, readckpt, program, rounds = sys.argv[1:]
    with tempfile.TemporaryDirectory() as directory:
        failures = storm(ckpt, readckpt, program, directory, int(rounds))
    for failure in failures[:20]:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
