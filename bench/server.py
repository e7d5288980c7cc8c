#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""How fast an image gets to ckptsrv, beside a plain copy over a socket and beside nginx.

All store the same bytes, on the same disk, over loopback; each is a server that has been started before
and a client that is started for each turn. What is compared alternates; the figures are medians of MiB/s,
and the ratio is that of the medians. The copy and ckptsrv answer when the bytes are synced; nginx does not
sync, so it gets a sync(1) of its file on top."""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

PIECE = 256 * 1024
MIB = 1 << 20


def raw_server(listener, path):
    """Stores what comes, syncs it, answers."""
    room = memoryview(bytearray(PIECE))
    while True:
        connection = listener.accept()[0]
        size = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        while size:
            n = connection.recv_into(room)
            os.write(file, room[:n])
            size -= n
        os.fdatasync(file)
        os.close(file)
        connection.sendall(b"!")
        connection.close()


def raw_client(port, path):
    room = bytearray(PIECE)
    size = os.stat(path).st_size
    with socket.create_connection(("127.0.0.1", port)) as s, open(path, "rb", buffering=0) as file:
        s.sendall(size.to_bytes(8, "big"))
        while n := file.readinto(room):
            s.sendall(memoryview(room)[:n])
        assert s.recv(1) == b"!"


class Bench:
    def __init__(self, given):
        self.bin = given.bin
        self.scratch = pathlib.Path(tempfile.mkdtemp(prefix="ckpt-bench-server-", dir=given.where))
        self.processes = []
        self.image = self.scratch / "image"

    def make_image(self, mib):
        """A real one: an image of python3 that holds so many MiB that do not compress."""
        end = self.scratch / "end"
        program = subprocess.Popen([f"{self.bin}/bin/ckpt", "-n", str(self.image), sys.executable, "-c",
                                    f"import os, time\nkept = [os.urandom(1 << 20) for _ in range({mib})]\n"
                                    f"open({str(end)!r}, 'w').close()\nwhile True: time.sleep(0.01)"],
                                   stdin=subprocess.DEVNULL)
        while not end.exists():
            time.sleep(0.01)
        time.sleep(0.1)
        program.send_signal(signal.SIGTSTP)
        if program.wait() != 0 or not self.image.exists():
            sys.exit("no image")
        os.sync()

    def run(self, words, **more):
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, **more)
        self.processes.append(process)
        return process

    def start_raw(self):
        listener = socket.create_server(("127.0.0.1", 0))
        pid = os.fork()
        if pid == 0:
            try:
                raw_server(listener, self.scratch / "raw")
            finally:
                os._exit(1)
        self.raw_pid = pid
        self.raw_port = listener.getsockname()[1]

    def start_nginx(self):
        nginx = shutil.which("nginx") or "/usr/sbin/nginx"
        if not os.path.exists(nginx):
            return False
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.nginx_port = s.getsockname()[1]
        base = self.scratch / "nginx"
        (base / "files").mkdir(parents=True)
        user = "user root;" if os.getuid() == 0 else ""
        (base / "conf").write_text(
            f"{user} daemon off; master_process off; error_log {base}/log; pid {base}/pid; events {{}}\n"
            f"http {{ access_log off; client_body_temp_path {base}/temp; client_max_body_size 0;\n"
            f"client_body_buffer_size 256k; server {{ listen 127.0.0.1:{self.nginx_port}; root {base}/files;\n"
            "location / { dav_methods PUT DELETE; } } }\n")
        self.run([nginx, "-p", str(base), "-c", str(base / "conf")], stderr=subprocess.DEVNULL)
        time.sleep(0.5)
        return self.processes[-1].poll() is None

    def start_ckptsrv(self, name, *options):
        server = self.run([f"{self.bin}/bin/ckptsrv", "-d", str(self.scratch / name), "-p", "0", *options],
                          stderr=subprocess.PIPE, text=True)
        line = server.stderr.readline()
        return int(line.split(" port ")[1].split(",")[0])

    def curl(self, url, *words):
        subprocess.run(["curl", "-sfS", "-o", "/dev/null", "-H", "Expect:", "-T", str(self.image), *words, url], check=True)

    def curl_nginx(self):
        self.curl(f"http://127.0.0.1:{self.nginx_port}/image")
        subprocess.run(["sync", "-d", str(self.scratch / "nginx/files/image")], check=True)

    def certificate(self):
        words = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(self.scratch / "key"), "-out",
                 str(self.scratch / "cert"), "-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=DNS:localhost"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def transfer(self, *words, **environment):
        subprocess.run([f"{self.bin}/bin/ckpt-transfer", "-q", *words], check=True, env={**os.environ, **environment})

    def ways(self):
        self.start_raw()
        port = self.start_ckptsrv("plain")
        url = f"http://127.0.0.1:{port}/image"
        name = f"cssrv://127.0.0.1:{port}/image"
        ways = {"a copy over a socket, synced": lambda: raw_client(self.raw_port, self.image)}
        if self.start_nginx():
            ways["nginx, PUT by curl, synced by us"] = self.curl_nginx
        ways["ckptsrv, PUT by curl"] = lambda: self.curl(url)
        ways["ckptsrv, ckpt-transfer put"] = lambda: self.transfer("put", str(self.image), name)
        ways["ckptsrv, ckpt-transfer put of a pipe"] = lambda: subprocess.run(
            f"exec {self.bin}/bin/ckpt-transfer -q put - {name} < <(cat {self.image})", shell=True,
            executable="/bin/bash", check=True)
        ways["ckptsrv, ckpt-transfer get"] = lambda: self.transfer("get", name, str(self.scratch / "back"))
        if self.certificate():
            tls = self.start_ckptsrv("tls", "--cert", str(self.scratch / "cert"), "--key", str(self.scratch / "key"))
            ways["ckptsrv, PUT by curl, TLS"] = lambda: self.curl(f"https://localhost:{tls}/image", "--cacert", str(self.scratch / "cert"))
        return ways

    def end(self):
        for process in self.processes:
            process.terminate()
            process.wait()
        os.kill(self.raw_pid, signal.SIGKILL)
        os.waitpid(self.raw_pid, 0)
        shutil.rmtree(self.scratch)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", default="build/release/stage-bench")
    parser.add_argument("--where", default="/var/tmp", help="the disk")
    parser.add_argument("--mib", type=int, default=512, help="of the image")
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    bench = Bench(given)
    try:
        bench.make_image(given.mib)
        size = bench.image.stat().st_size
        ways = bench.ways()
        took = {name: [] for name in ways}
        for turn in range(given.turns + 1):   # the first is not counted
            for name, way in ways.items():
                began = time.monotonic()
                way()
                if turn:
                    took[name].append(time.monotonic() - began)
        base = statistics.median(next(iter(took.values())))
        print(f"an image of {size // MIB} MiB, {given.turns} turns\n\n| way | MiB/s | of the copy |\n|---|---|---|")
        for name, times in took.items():
            median = statistics.median(times)
            print(f"| {name} | {size / MIB / median:.0f} | {base / median:.2f} |")
    finally:
        bench.end()


if __name__ == "__main__":
    main()
