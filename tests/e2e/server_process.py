# SPDX-License-Identifier: MIT
"""A ckptsrv under test: started on a free port, with what it says, and always ended."""

import http.client
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import time

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


def head_of_answer(connection):
    """Status and head, read from a plain socket."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return (int(data.split(b" ")[1]) if data.startswith(b"HTTP/") else 0), data
