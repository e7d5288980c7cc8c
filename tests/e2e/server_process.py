# SPDX-License-Identifier: MIT
"""A ckptsrv under test: started on a free port, with what it says, and always ended; and how the tests of it
are run, as whom."""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from harness import USER_ID, world_usable  # noqa: E402

PATIENCE = 60


class Failure(Exception):
    """The test has found something wrong."""


class Server:
    def __init__(self, bin_directory, directory, *options, wrapper=(), environment=None):
        self.directory = pathlib.Path(directory)
        self.command = [*wrapper, str(pathlib.Path(bin_directory) / "bin/ckptsrv"), "-d",
                        str(directory), *options]
        self.environment = environment
        self.said = ""
        self.process = None

    def start(self, port=0):
        self.process = subprocess.Popen([*self.command, "-p", str(port)], stdin=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, env=self.environment)
        end = time.monotonic() + PATIENCE
        while " port " not in self.said:
            if not self.read(end - time.monotonic()):
                raise Failure(f"the server did not start: {self.said}")
        line = [l for l in self.said.splitlines() if " port " in l][-1]
        self.port = int(line.split(" port ")[1].split(",")[0])
        return self

    def read(self, seconds):
        """More of what it says; False when it says nothing more."""
        descriptor = self.process.stderr.fileno()
        if not select.select([descriptor], [], [], max(0, seconds))[0]:
            return False
        piece = os.read(descriptor, 65536).decode(errors="replace")
        self.said += piece
        return bool(piece)

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.said:
            if not self.read(end - time.monotonic()):
                raise Failure(f"the server has not said {text!r}, but:\n{self.said}")

    def forget(self):
        while self.read(0):
            pass
        self.said = ""

    def stop(self, number=signal.SIGTERM):
        """Its status."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        try:
            status = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure("the server does not stop") from None
        while self.read(0):
            pass
        self.process.stderr.close()
        self.process = None
        return status

    def kill(self):
        if self.process is not None:
            self.stop(signal.SIGKILL)

    def again(self):
        """At the same port, where its clients look for it."""
        self.said = ""
        return self.start(self.port)

    def elsewhere(self):
        """At any port; the one before may be another's by now."""
        self.said = ""
        return self.start()

    def request(self, method, target, body=None, **headers):
        """(status, headers, body); header names have _ for -."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            fields = {k.replace("_", "-"): v for k, v in headers.items()}
            try:
                connection.request(method, target, body=body, headers=fields)
            except (BrokenPipeError, ConnectionResetError):
                pass   # it wants no more of the body; why, it has said
            answer = connection.getresponse()
            return answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read()
        finally:
            connection.close()

    def json(self):
        return json.loads(self.request("GET", "/")[2])["images"]

    def socket(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        return s

    def litter(self):
        return sorted(p.name for p in (self.directory / "incoming").iterdir())

    def objects(self):
        return sorted(p.name for p in (self.directory / "objects").iterdir())


@contextlib.contextmanager
def small_disk(directory, mib):
    """A disk of so many MiB at `directory`; None where none can be mounted."""
    directory.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "none", str(directory)],
                          capture_output=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode != 0:
        print("  no small disk can be mounted here")
        yield None
        return
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def head_of_answer(connection):
    """Status and head, read from a plain socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return (int(data.split(b" ")[1]) if data.startswith(b"HTTP/") else 0), data


def become_nobody(given, scratch):
    """All that follows is an ordinary user's, with an installation that it can reach."""
    if not world_usable(pathlib.Path(given.bin) / "bin/ckptsrv"):
        shutil.copytree(given.bin, scratch / "stage", symlinks=True)
        given.bin = str(scratch / "stage")
        for path in [scratch / "stage", *(scratch / "stage").rglob("*")]:
            os.chown(path, USER_ID, USER_ID, follow_symlinks=False)
            if not path.is_symlink():
                mode = path.stat().st_mode
                path.chmod(mode | 0o444 | (0o111 if mode & 0o100 else 0))
    os.chown(scratch, USER_ID, USER_ID)
    os.chdir(scratch)
    os.environ["HOME"] = str(scratch)
    os.setgroups([])
    os.setresgid(USER_ID, USER_ID, USER_ID)
    os.setresuid(USER_ID, USER_ID, USER_ID)


def run_tests(kind):
    """Those of a class, which has `servers` and `processes`, each with its time; with --sample some of them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--victims")
    parser.add_argument("--user", choices=("root", "nobody"))
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--only")
    parser.add_argument("--sample", type=int, help="how many, chosen by the seed")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    given = parser.parse_args()
    print(f"seed {given.seed}", flush=True)
    given.bin = os.path.abspath(given.bin)
    given.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ckpt-server-"))
    if given.user == "nobody" and os.geteuid() == 0:
        become_nobody(given, given.scratch)
    tests = kind(given)
    kinds = ("test_", "full_") if given.full else ("test_",)
    names = [n for n in dir(tests) if n.startswith(kinds) and (given.only or "") in n]
    if given.sample:
        names = random.Random(given.seed).sample(names, min(given.sample, len(names)))
    failed = 0

    def end_all():
        for process in tests.processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        for server in tests.servers:
            server.kill()

    try:
        for name in names:
            began = time.monotonic()
            try:
                getattr(tests, name)()
                print(f"ok {name} {time.monotonic() - began:.1f} s", flush=True)
            except Exception as error:   # one failure does not hide the others
                failed += 1
                print(f"FAILED {name} (--seed {given.seed}): {type(error).__name__}: {error}", flush=True)
            end_all()
    finally:
        end_all()
        shutil.rmtree(given.scratch, ignore_errors=True)
    sys.exit(1 if failed else 0)
