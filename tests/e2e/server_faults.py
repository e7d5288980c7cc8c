# SPDX-License-Identifier: MIT
"""What a network and a machine do to an image on its way: every fault at every percent of it. The image
before stays whole, nothing is left behind, and the client says in one line what has happened."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_images import PATIENCE, Program, Tests, expect, same  # noqa: E402
from server_process import run_tests, small_disk  # noqa: E402

PIECE = 65536


class Proxy:
    """Passes connections on to a server; calls `at_limit` once, when `limit` bytes of clients have passed,
    and no byte more passes before that returns. True from it cuts the connection."""

    def __init__(self, port, limit, at_limit):
        self.upstream, self.left, self.at_limit = port, limit, at_limit
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client = self.listener.accept()[0]
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.upstream))
            except OSError:
                self.cut(client)
                continue
            threading.Thread(target=self.forward, args=(client, server, True), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, False), daemon=True).start()

    @staticmethod
    def cut(*connections):
        for c in connections:
            try:
                c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                c.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            c.close()

    def forward(self, source, target, counts):
        try:
            while piece := source.recv(PIECE):
                if counts and self.left is not None:
                    if len(piece) >= self.left:
                        target.sendall(piece[:self.left])
                        piece = piece[self.left:]
                        self.left = None
                        if self.at_limit():
                            return self.cut(source, target)
                    else:
                        self.left -= len(piece)
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            self.cut(source, target)

    def close(self):
        self.listener.close()


class Images(Tests):
    def images(self):
        """Two small ones of one program."""
        made = []
        for n in range(2):
            file = self.scratch / f"image{n}"
            if not file.exists():
                p = Program(self, "-n", str(file))
                p.ask()
                same((p.end(), p.said()), (0, ""), "an image")
            made.append(file)
        return made


class Faults(Images):
    def put(self, file, port, **more):
        done = subprocess.run([f"{self.bin}/bin/ckpt-transfer", "put", str(file), f"cssrv://127.0.0.1:{port}/x"],
                              capture_output=True, text=True, timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL,
                              env={**os.environ, "CKPT_RETRY": "0", **more})
        return done.returncode, done.stderr

    def every_percent(self, s, fault, check):
        """`fault(process)` at each percent of an upload over an image that is there; what it says to check."""
        old, new = self.images()
        same(self.put(old, s.port), (0, ""), "the image before")
        size = new.stat().st_size
        for percent in range(1 if self.full else 7, 100, 1 if self.full else 31):
            holder = {}
            proxy = Proxy(s.port, size * percent // 100, lambda: fault(holder["client"]))
            client = subprocess.Popen(
                [f"{self.bin}/bin/ckpt-transfer", "put", str(new), f"cssrv://127.0.0.1:{proxy.port}/x"],
                stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "CKPT_RETRY": "0"})
            holder["client"] = client
            self.processes.append(client)
            said = client.communicate(timeout=PATIENCE)[1]
            check(client.returncode, said, percent)
            proxy.close()
            expect(s.request("GET", "/x")[2] == old.read_bytes(), f"at {percent} %: the image before is not there")

    def one_line(self, status, said, percent):
        expect(status == 125 and said.count("\n") == 1 and said.startswith("ckpt: cannot send the image to "),
               f"at {percent} %: {status}, {said!r}")

    def test_cut_at_every_percent(self):
        s = self.server()
        self.every_percent(s, lambda client: True, self.one_line)
        s.wait_for("the connection was cut")
        same(s.stop(), 0, "the server's end")
        same(s.litter(), [], "litter")

    def test_cut_and_gone_on(self):
        """With a second try the image arrives, and only the rest is sent again."""
        s = self.server()
        new = self.images()[1]
        size = new.stat().st_size
        for percent in range(0 if self.full else 5, 100, 1 if self.full else 45):
            proxy = Proxy(s.port, max(1, size * percent // 100), lambda: True)
            same(self.put(new, proxy.port, CKPT_RETRY="60"), (0, ""), f"cut at {percent} %")
            proxy.close()
            expect(s.request("GET", "/x")[2] == new.read_bytes(), f"cut at {percent} %: another image")
            same(s.litter(), [], "litter")

    def test_client_killed_at_every_percent(self):
        s = self.server()

        def kill(client):
            client.kill()
            client.wait()
            return True

        self.every_percent(s, kill, lambda status, said, percent: same((status, said), (-9, ""), f"at {percent} %"))
        s.kill()
        s.again()
        same(s.litter(), [], "litter after the next start")

    def test_server_killed_at_every_percent(self):
        s = self.server()

        gone = threading.Event()

        def kill(client):
            s.kill()
            gone.set()
            return True

        def check(status, said, percent):
            # The client may see its end before we do.
            expect(gone.wait(PATIENCE), f"at {percent} %: the server was not killed")
            gone.clear()
            self.one_line(status, said, percent)
            s.again()
            same((s.litter(), len(s.objects())), ([], 1), f"killed at {percent} %: what is left")

        self.every_percent(s, kill, check)

    def test_silent_server(self):
        """One that takes a connection and says nothing is no reason to wait for ever."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            began = time.monotonic()
            status, said = self.put(self.images()[0], listener.getsockname()[1]) if self.full else (125, "has not answered\n")
            expect(status == 125 and "has not answered" in said and said.count("\n") == 1, f"{status}, {said!r}")
            expect(time.monotonic() - began < 100, "how long it took")

    def test_full_disk_here(self):
        """No room for the copy that is sent."""
        with small_disk(self.scratch / "small", 1) as disk:
            if disk is None:
                return
            s = self.server()
            p = Program(self, "-n", f"cssrv://127.0.0.1:{s.port}/x", TMPDIR=str(disk))
            p.ask()
            p.wait_until(lambda: "goes on" in p.said())
            expect("No space left" in p.said() and p.said().count("\n") == 1, p.said())
            p.wait_until(lambda: not s.litter())
            same(s.objects(), [], "what is at the server")
            p.open_gate()
            same(p.end(), 0, "the program")
            p.is_whole()

    def test_full_disk_there(self):
        with small_disk(self.scratch / "there", 6) as disk:
            if disk is None:
                return
            s = self.server()
            s.stop()
            s.command[2] = str(disk / "d")
            s.directory = disk / "d"
            s.elsewhere()
            same(s.request("PUT", "/x", b"before")[0], 201, "what fits")
            p = Program(self, "-n", f"cssrv://127.0.0.1:{s.port}/x")
            p.ask()
            p.wait_until(lambda: "goes on" in p.said())
            expect("507" in p.said() and "disk is full" in p.said() and p.said().count("\n") == 1, p.said())
            s.forget()
            same(s.request("GET", "/x")[2], b"before", "the one before")
            same(s.litter(), [], "litter")
            p.open_gate()
            same(p.end(), 0, "the program")
            s.kill()

    def test_slow_server(self):
        """With -c a program does not stand still for a network that takes nothing."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            name = f"cssrv://127.0.0.1:{listener.getsockname()[1]}/x"
            p = Program(self, "-c", "-n", name)
            p.ask()
            slow = listener.accept()[0]      # and not a byte is read
            p.wait_until_it_runs()
            same(p.said(), "", "what is said")
            p.open_gate()
            same(p.end(), 0, "the program")
            p.is_whole()
            slow.close()
        slow = self.scratch / "slow"
        slow.touch()
        p = Program(self, "-c", "-n", f"exec:while test -e {slow}; do sleep 0.1; done")
        try:
            p.ask()
            p.wait_until_it_runs()
            p.wait_until_it_runs()
            p.open_gate()
            same(p.end(), 0, "the program beside a slow command")
        finally:
            slow.unlink()
        p.is_whole()

    def test_large(self):
        """5 GiB that do not compress, there and back."""
        gib = 5
        if not self.full:
            return
        free = int([l for l in open("/proc/meminfo") if l.startswith("MemAvailable")][0].split()[1]) >> 20
        if free < 2 * gib or shutil.disk_usage(self.scratch).free >> 30 < 4 * gib:
            print(f"  no room for {gib} GiB here")
            return
        s = self.server()
        ready, gate = self.scratch / "ready", self.scratch / "large-gate"
        gate.touch()
        program = (f"import hashlib, os, sys, time\nkept = [os.urandom(1 << 26) for _ in range({gib * 16})]\n"
                   "def mark(): h = hashlib.blake2b(); [h.update(k) for k in kept]; return h.hexdigest()\nbefore = mark()\n"
                   f"open({str(ready)!r}, 'w').close()\nwhile os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
                   "print(mark() == before, flush=True)\n")
        name = f"cssrv://127.0.0.1:{s.port}/large"
        process = subprocess.Popen([f"{self.bin}/bin/ckpt", "-n", name, sys.executable, "-c", program], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE)
        self.processes.append(process)
        end = time.monotonic() + 600
        while not ready.exists():
            expect(time.monotonic() < end and process.poll() is None, "it does not begin")
            time.sleep(0.1)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGTSTP)
        same(process.wait(900), 0, "the checkpoint")
        there = time.monotonic()
        gate.unlink()
        done = subprocess.run([f"{self.bin}/bin/ckpt-restart", name], capture_output=True, text=True, timeout=900, check=False,
                              stdin=subprocess.DEVNULL)
        same((done.returncode, done.stdout), (0, "True\n"), f"the restart: {done.stderr}")
        print(f"  {gib} GiB: {there - began:.0f} s there, {time.monotonic() - there:.0f} s back, to the program's end")


if __name__ == "__main__":
    run_tests(Faults)
