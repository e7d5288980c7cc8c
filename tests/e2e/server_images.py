# SPDX-License-Identifier: MIT
"""Checkpoints to a server and restarts from it, as users type them: cssrv://, cssrvs://, exec:, with
compression, with a server that is not there, with tokens and certificates that are not good, and with
servers that are killed meanwhile."""

import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_process import Failure, Server, run_tests  # noqa: E402

STEPS = 40
PATIENCE = 120
# Counts, and waits in the middle until its gate is gone: no clock decides where it is stopped. Its
# pulse shows that it runs.
PROGRAM = f"""
import os, sys, time
for i in range({STEPS}):
    print(i, flush=True)
    if i == {STEPS // 2}:
        open(sys.argv[1], "w").close()
        while os.path.exists(sys.argv[1]):
            os.utime(sys.argv[2])
            time.sleep(float(os.environ.get("PULSE", "0.005")))
"""


def expect(so, what):
    if not so:
        raise Failure(what)


def same(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: {got!r:.600} instead of {wanted!r:.600}")


def carriers(name):
    """The processes that are bringing an image to `name`; one that has ended has no command line."""
    found = []
    for process in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = pathlib.Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0] == b"ckpt-transfer" and any(name.encode() in word for word in words):
            found.append(int(process))
    return found


class Program:
    """A python3 that counts, stops in the middle until its gate is gone, and counts on."""

    def __init__(self, tests, *options, **environment):
        self.tests = tests
        self.scratch = pathlib.Path(tempfile.mkdtemp(dir=tests.scratch))
        self.gate = self.scratch / "gate"
        self.pulse = self.scratch / "pulse"
        self.pulse.touch()
        os.utime(self.pulse, (0, 0))
        self.out = self.scratch / "out"
        self.errors = self.scratch / "errors"
        self.environment = {**os.environ, "CKPT_RETRY": "0", **environment}
        self.process = subprocess.Popen(
            [f"{tests.bin}/bin/ckpt", *options, sys.executable, "-c", PROGRAM, str(self.gate), str(self.pulse)],
            stdin=subprocess.DEVNULL, stdout=self.out.open("w"), stderr=self.errors.open("w"),
            cwd=self.scratch, env=self.environment)
        tests.processes.append(self.process)
        self.wait_until(self.gate.exists)
        self.wait_until_it_runs()   # and has closed the gate's file

    def wait_until(self, so):
        end = time.monotonic() + PATIENCE
        while not so():
            if time.monotonic() > end or (self.process.poll() is not None and not so()):
                raise Failure(f"waited in vain; the program says {self.errors.read_text()!r}")
            time.sleep(0.005)

    def wait_until_it_runs(self):
        before = self.pulse.stat().st_mtime_ns
        self.wait_until(lambda: self.pulse.stat().st_mtime_ns != before)

    def ask(self):
        os.kill(self.process.pid, signal.SIGTSTP)

    def said(self):
        return self.errors.read_text()

    def open_gate(self):
        self.gate.unlink()

    def end(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"the program does not end; it says {self.said()!r}") from None

    def numbers(self):
        return self.out.read_text().split()

    def is_whole(self):
        same(self.numbers(), [str(i) for i in range(STEPS)], "the output")

    def restart(self, name, *options, status=0):
        """From `name`, with the gate open."""
        if self.gate.exists():
            self.open_gate()
        done = subprocess.run([f"{self.tests.bin}/bin/ckpt-restart", *options, name], stdin=subprocess.DEVNULL,
                              stdout=self.out.open("a"), stderr=subprocess.PIPE, cwd=self.scratch,
                              env=self.environment, timeout=PATIENCE, check=False)
        same((done.returncode, done.stderr if status == 0 else b""), (status, b""), f"restart from {name}: {done.stderr}")
        return done.stderr.decode()


class Tests:
    def __init__(self, given):
        self.bin = given.bin
        self.full = given.full
        self.random = random.Random(given.seed)
        self.scratch = given.scratch
        self.servers = []
        self.processes = []

    def server(self, *options, **more):
        s = Server(self.bin, self.scratch / f"d{len(self.servers)}", *options, **more)
        self.servers.append(s)
        return s.start()


class ImageTests(Tests):
    def round(self, name, *options, **environment):
        p = Program(self, "-n", name, *options, **environment)
        p.ask()
        same((p.end(), p.said()), (0, ""), f"a checkpoint to {name}")
        p.restart(name)
        p.is_whole()
        return p

    def test_there_and_back(self):
        s = self.server()
        self.round(f"cssrv://127.0.0.1:{s.port}/a")
        self.round(f"cssrv://localhost:{s.port}/jobs/b c\u00e9")
        names = [i for i in s.request("GET", "/")[2].decode().split('"') if i.startswith(("a", "jobs/"))]
        expect("a" in names, f"what the server has: {names}")
        for how in ("lz4", "zstd", "zstd:1"):
            self.round(f"cssrv://127.0.0.1:{s.port}/packed", f"--compress={how}")
        expect(s.request("HEAD", "/packed", Accept_Encoding="zstd")[1].get("content-encoding") == "zstd",
               "it is not stored as it was sent")
        self.round(f"cssrv://127.0.0.1:{s.port}/packed", CKPT_COMPRESS="lz4:9")
        same(s.litter(), [], "litter")

    def test_ipv6(self):
        try:
            with socket.socket(socket.AF_INET6) as c:
                c.bind(("::1", 0))
        except OSError:
            print("  no IPv6 here")
            return
        s = self.server("--bind", "::1")
        self.round(f"cssrv://[::1]:{s.port}/six")

    def test_several_generations(self):
        s = self.server("--keep", "4")
        name = f"cssrv://127.0.0.1:{s.port}/g"
        p = Program(self, "-n", name)
        p.ask()
        same(p.end(), 0, "the first")
        for _ in range(3):
            stood = p.pulse.stat().st_mtime_ns
            again = subprocess.Popen([f"{self.bin}/bin/ckpt-restart", name], stdin=subprocess.DEVNULL,
                                     stdout=p.out.open("a"), stderr=p.errors.open("a"), env=p.environment)
            self.processes.append(again)
            before = s.request("HEAD", "/g")[1]["image-version"]
            # Before it is the program again, it is ckpt-transfer, and that would be checkpointed.
            end = time.monotonic() + PATIENCE
            while p.pulse.stat().st_mtime_ns == stood:
                expect(time.monotonic() < end and again.poll() is None, f"no restart: {p.said()}")
                time.sleep(0.005)
            while subprocess.run([f"{self.bin}/bin/ckpt", "-p", str(again.pid), "--now"],
                                 capture_output=True, check=False).returncode != 0:
                expect(time.monotonic() < end and again.poll() is None, f"no checkpoint: {p.said()}")
                time.sleep(0.02)
            same(again.wait(PATIENCE), 0, "the next generation")
            expect(s.request("HEAD", "/g")[1]["image-version"] != before, "no new version")
        p.restart(name)
        p.is_whole()

    def test_going_on(self):
        s = self.server("--keep", "100")
        name = f"cssrv://127.0.0.1:{s.port}/c"
        p = Program(self, "-c", "-n", name)
        for n in range(3):
            p.ask()
            p.wait_until(lambda: len(s.objects()) > n and not s.litter())
            # While the one before is on its way, the next would be refused.
            p.wait_until(lambda: not carriers(name))
            p.wait_until_it_runs()
        same(p.said(), "", "what is said")
        p.open_gate()
        same(p.end(), 0, "the program")
        p.is_whole()
        lines = p.numbers()[:STEPS // 2 + 1]
        p.out.write_text("".join(l + "\n" for l in lines))
        p.restart(f"cssrv://127.0.0.1:{s.port}/c", "--files=keep")

    def test_remove_by_hand(self):
        """0: it was there and is gone; 1: there was none."""
        s = self.server()
        s.request("PUT", "/gone", b"x")
        for status in (0, 1):
            done = subprocess.run([f"{self.bin}/bin/ckpt-transfer", "remove", f"cssrv://127.0.0.1:{s.port}/gone"],
                                  capture_output=True, stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
            same((done.returncode, done.stdout, done.stderr), (status, b"", b""), "removing it")

    def test_exec(self):
        p = Program(self, "-n", "exec:gzip -1 > image.gz")
        p.ask()
        same((p.end(), p.said()), (0, ""), "a checkpoint to a command")
        p.restart("exec:gzip -dc image.gz")
        p.is_whole()
        for command, why in [("exit 3", "status 3"), ("head -c 1000 > /dev/null; exit 1", "status 1"),
                             ("kill -9 $$", "signal 9")]:
            p = Program(self, "-n", f"exec:{command}")
            p.ask()
            p.wait_until(lambda: "goes on" in p.said())
            expect(why in p.said() and p.said().count("\n") == 1, f"exec:{command}: {p.said()}")
            p.open_gate()
            same(p.end(), 0, "the program")
            p.is_whole()

    def test_nobody_there(self):
        with socket.socket() as c:   # a port where nobody listens
            c.bind(("127.0.0.1", 0))
            port = c.getsockname()[1]
            for name, why in [(f"cssrv://127.0.0.1:{port}/x", "Connection refused"),
                              ("cssrv://no-such-host.invalid/x", "not known")]:
                p = Program(self, "-n", name)
                p.ask()
                p.wait_until(lambda: "goes on" in p.said())
                expect(why in p.said() and p.said().count("\n") == 1 and name in p.said(), p.said())
                p.open_gate()
                same(p.end(), 0, "the program")
                p.is_whole()
                expect(why in p.restart(name, status=125), "why there is no restart")
            keep = self.scratch / "kept"
            keep.mkdir()
            p = Program(self, "-n", f"cssrv://127.0.0.1:{port}/dir/x.ckpt", "--compress=zstd",
                        CKPT_FALLBACK=str(keep))
            p.ask()
            same(p.end(), 0, "the program")
            expect("it is kept in" in p.said() and p.said().count("\n") == 1, p.said())
            same([f.name for f in keep.iterdir()], ["x.ckpt"], "what is kept")
            p.open_gate()
            done = subprocess.run([str(keep / "x.ckpt")], stdin=subprocess.DEVNULL, stdout=p.out.open("a"),
                                  timeout=PATIENCE, check=False)
            same(done.returncode, 0, "the image that was kept")
            p.is_whole()

    def test_no_client(self):
        p = Program(self, "-n", "cssrv://127.0.0.1/x", CKPT_TRANSFER="/none/ckpt-transfer")
        p.ask()
        p.wait_until(lambda: "goes on" in p.said())
        expect("/none/ckpt-transfer" in p.said() and "CKPT_TRANSFER" in p.said(), p.said())
        p.open_gate()
        same(p.end(), 0, "the program")

    def test_tokens(self):
        tokens, mine = self.scratch / "tokens", self.scratch / "mine"
        tokens.write_text("good-token\n")
        mine.write_text("good-token\n")
        for file in (tokens, mine):
            file.chmod(0o600)
        s = self.server("--token-file", str(tokens))
        name = f"cssrv://127.0.0.1:{s.port}/t"
        self.round(name, CKPT_TOKEN_FILE=str(mine))
        mine.write_text("bad-token\n")
        for environment, why in [({"CKPT_TOKEN_FILE": str(mine)}, "401"), ({}, "401"),
                                 ({"CKPT_TOKEN_FILE": "/none"}, "cannot open the token file")]:
            p = Program(self, "-n", name, **environment)
            p.ask()
            p.wait_until(lambda: "goes on" in p.said())
            expect(why in p.said() and "bad-token" not in p.said() and p.said().count("\n") == 1, p.said())
            expect(why in p.restart(name, status=125), "why there is no restart")
        s.wait_for("not known")

    def certificate(self, what, *words):
        key, cert = self.scratch / f"{what}.key", self.scratch / f"{what}.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key),
                        "-out", str(cert), "-subj", "/CN=test", *words], check=True, capture_output=True)
        return str(cert), str(key)

    def test_tls(self):
        if shutil.which("openssl") is None:
            print("  no openssl here")
            return
        cert, key = self.certificate("good", "-days", "2", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
        s = self.server("--cert", cert, "--key", key)
        for host in ("localhost", "127.0.0.1"):
            self.round(f"cssrvs://{host}:{s.port}/s", "--compress=lz4", CKPT_CA=cert)

        def refused(server, name, ca, why):
            p = Program(self, "-n", name, CKPT_CA=ca)
            p.ask()
            p.wait_until(lambda: "goes on" in p.said())
            expect(why in p.said() and p.said().count("\n") == 1, f"{why}: {p.said()}")
            p.open_gate()
            same(p.end(), 0, "the program")
            same(server.objects(), [], "what has reached the server") if server is not s else None

        refused(s, f"cssrvs://localhost:{s.port}/n", "", "certificate is not good")
        other, other_key = self.certificate("name", "-days", "2", "-addext", "subjectAltName=DNS:elsewhere.example")
        t = self.server("--cert", other, "--key", other_key)
        refused(t, f"cssrvs://localhost:{t.port}/n", other, "ostname mismatch")
        refused(t, f"cssrvs://127.0.0.1:{t.port}/n", other, "IP address mismatch")
        # A day that is over: openssl's ca command can say when it was.
        if self.expired():
            cert, key = self.expired()
            u = self.server("--cert", cert, "--key", key)
            refused(u, f"cssrvs://localhost:{u.port}/n", cert, "expired")
        refused(s, f"cssrv://localhost:{s.port}/n", cert, "cannot send")   # HTTP where TLS is spoken

    def expired(self):
        cert, key, request = (self.scratch / f"old.{e}" for e in ("pem", "key", "csr"))
        if cert.exists():
            return str(cert), str(key)
        base = self.scratch / "ca"
        base.mkdir(exist_ok=True)
        (base / "index").write_text("")
        (base / "serial").write_text("01\n")
        (base / "conf").write_text(f"[ca]\ndefault_ca=d\n[d]\ndatabase={base}/index\nserial={base}/serial\n"
                                   f"new_certs_dir={base}\ndefault_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n"
                                   "[x]\nsubjectAltName=DNS:localhost\nbasicConstraints=CA:TRUE\n")
        run = lambda *words: subprocess.run(words, capture_output=True, check=False).returncode == 0
        made = (run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(request),
                    "-subj", "/CN=localhost") and
                run("openssl", "ca", "-batch", "-selfsign", "-config", str(base / "conf"), "-extensions", "x", "-keyfile",
                    str(key), "-in", str(request), "-out", str(cert), "-startdate", "20200101000000Z", "-enddate",
                    "20200201000000Z", "-notext"))
        if not made:
            print("  no expired certificate can be made here")
        return (str(cert), str(key)) if made else None

    def test_full_disk_there(self):
        s = self.server("--max-size", "1M")
        name = f"cssrv://127.0.0.1:{s.port}/big"
        p = Program(self, "-n", name)
        p.ask()
        p.wait_until(lambda: "goes on" in p.said())
        expect("413" in p.said() and "--max-size" in p.said() and p.said().count("\n") == 1, p.said())
        same((s.objects(), s.litter()), ([], []), "what is there")

    def test_killed_servers(self):
        """The server is killed and started again at random moments: the client goes on, or says that it
        could not, and every image that was acknowledged restarts."""
        s = self.server()
        count = 200 if self.full else 3
        programs = []
        for n in range(count):
            programs.append(Program(self, "-n", f"cssrv://127.0.0.1:{s.port}/k{n}", CKPT_RETRY="120",
                                    PULSE="0.2"))
            if self.full and len(programs) % 20 == 0:
                print(f"  {len(programs)} programs", flush=True)
        for p in programs:
            p.ask()
        lost, killed, going_on = set(), 0, set()
        for _ in range(20 if self.full else 2):
            time.sleep(self.random.uniform(0, 0.3))
            s.kill()
            if self.full:
                victim = self.random.randrange(count)
                if programs[victim].process.poll() is None:   # a program dies as well
                    programs[victim].process.kill()
                    lost.add(victim)
                for client in self.random.sample(under_way := carriers(f":{s.port}/"), min(3, len(under_way))):
                    killed += 1
                    os.kill(client, signal.SIGKILL)
            s.again()
        for n, p in enumerate(programs):
            if n in lost:
                p.end()
                continue
            if self.full:   # a client that was killed is a checkpoint that failed, and the program goes on
                p.wait_until(lambda: p.process.poll() is not None or "goes on" in p.said())
            if "goes on" in p.said():
                expect("ckpt-transfer has died" in p.said() and p.said().count("\n") == 1, f"program {n}: {p.said()}")
                going_on.add(n)
                p.open_gate()
            same(p.end(), 0, f"program {n}: {p.said()}")
            if n not in going_on:
                same(p.said(), "", f"program {n}")
                p.restart(f"cssrv://127.0.0.1:{s.port}/k{n}")
            p.is_whole()
        if self.full:
            print(f"  {count} programs, {len(lost)} killed, {killed} clients killed, {len(going_on)} went on without an image, "
                  f"{count - len(lost) - len(going_on)} images restarted", flush=True)

    def test_torn_there(self):
        """What an enemy has put there, or a disk has lost, restarts nothing."""
        s = self.server()
        p = Program(self, "-n", f"cssrv://127.0.0.1:{s.port}/torn")
        p.ask()
        same(p.end(), 0, "the program")
        object_file = s.directory / "objects" / s.objects()[0]
        data = bytearray(object_file.read_bytes())
        data[len(data) // 2] ^= 1
        object_file.write_bytes(data)
        expect("checksum" in p.restart(f"cssrv://127.0.0.1:{s.port}/torn", status=125), "a torn image")
        object_file.write_bytes(b"#!/bin/sh\necho evil\n")
        why = p.restart(f"cssrv://127.0.0.1:{s.port}/torn", status=125)
        expect("not a ckpt image" in why, f"a script: {why}")
        expect("evil" not in p.out.read_text(), "a script was run")


if __name__ == "__main__":
    run_tests(ImageTests)
