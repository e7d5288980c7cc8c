# SPDX-License-Identifier: MIT
"""An image that is on its way to the server while it is still being written: what the writer, the network,
the server and the disk do to it in the middle."""

import os
import pathlib
import resource
import select
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_faults import Images, Proxy  # noqa: E402
from server_images import PATIENCE, expect, same  # noqa: E402
from server_process import run_tests  # noqa: E402


class Stream:
    """`ckpt-transfer put -`, to which an image is given piece by piece."""

    def __init__(self, tests, port, *options, limits=None, **environment):
        self.status, ours = os.pipe()
        self.process = subprocess.Popen(
            [f"{tests.bin}/bin/ckpt-transfer", f"--status-fd={ours}", *options, "put", "-", f"cssrv://127.0.0.1:{port}/x"],
            stdin=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=[ours], preexec_fn=limits,
            env={**os.environ, "CKPT_RETRY": "60", **environment})
        os.close(ours)
        tests.processes.append(self.process)

    def give(self, data):
        """False when it wants no more, or takes too long."""
        bound = threading.Timer(PATIENCE, self.process.kill)
        bound.start()
        try:
            self.process.stdin.write(data)
            self.process.stdin.flush()
            return True
        except BrokenPipeError:
            return False
        finally:
            bound.cancel()

    def end(self):
        """(status, what it says to whoever has started it, its own lines)"""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        said = b""
        while piece := os.read(self.status, 4096):
            said += piece
        os.close(self.status)
        lines = self.process.stderr.read().decode()
        self.process.stderr.close()
        return self.process.wait(PATIENCE), said.decode(), lines


class Streams(Images):
    def image(self):
        return self.images()[0].read_bytes()

    def until(self, so, what):
        end = time.monotonic() + PATIENCE
        while not so():
            expect(time.monotonic() < end, f"waited in vain: {what}")
            time.sleep(0.005)

    @staticmethod
    def arrived(s):
        """Bytes of uploads that are not whole yet."""
        total = 0
        for name in s.litter():
            try:
                total += (s.directory / "incoming" / name).stat().st_size
            except FileNotFoundError:
                pass
        return total

    def begun(self, s, data, *options, share=None, **environment):
        """A stream of which a part has come to the server; and the rest of it."""
        middle = int(len(data) * (share or self.random.uniform(0.1, 0.9)))
        stream = Stream(self, s.port, *options, **environment)
        stream.give(data[:middle])
        self.until(lambda: self.arrived(s) > 0, "nothing is sent before the end has come")
        return stream, data[middle:]

    def test_sent_while_it_comes(self):
        s = self.server()
        data = self.image()
        for options in ((), ("--compress=lz4",), ("--compress=zstd:1",)):
            stream, rest = self.begun(s, data, *options, share=0.9)
            same(s.request("GET", "/x")[0], 404, "before the end")
            stream.give(rest)
            same(stream.end(), (0, "RD", ""), f"a stream {options}")
            expect(s.request("GET", "/x")[2] == data, f"{options}: another image")
            same(s.litter(), [], "litter")
            s.request("DELETE", "/x")

    def test_torn(self):
        """The program dies in the middle: the server forgets what it has, and the image before stays."""
        s = self.server()
        old, data = self.image(), self.images()[1].read_bytes()
        s.request("PUT", "/x", old)
        for options in ((), ("--compress=zstd:1",)):
            stream, _ = self.begun(s, data, *options, share=self.random.uniform(0.7, 0.9))
            status, said, lines = stream.end()
            expect((status, lines) == (125, "") and said.startswith("F") and "cut off" in said and "R" not in said[:2],
                   f"a torn stream: {status}, {said!r}, {lines!r}")
            same(s.litter(), [], "what the server keeps of it")
            expect(s.request("GET", "/x")[2] == old, "the image before")
        damaged = bytearray(data)
        damaged[int(len(data) * self.random.uniform(0.3, 0.9))] ^= 4
        stream, rest = self.begun(s, bytes(damaged))
        stream.give(rest)
        status, said, _ = stream.end()
        expect(status == 125 and "checksum" in said, f"a damaged stream: {status}, {said!r}")
        self.until(lambda: not s.litter(), "what the server keeps of a damaged one")
        expect(s.request("GET", "/x")[2] == old, "the image before a damaged one")
        same(len(s.objects()), 1, "objects")

    def test_killed(self):
        """Whoever sends dies in the middle: what waits for it is no image, and goes with the server."""
        s = self.server()
        stream, _ = self.begun(s, self.image())
        stream.process.kill()
        stream.end()
        s.wait_for("they wait for the client")
        same((s.objects(), s.request("GET", "/x")[0]), ([], 404), "what is there")
        same(s.stop(), 0, "the server's end")
        same(s.litter(), [], "litter")

    def test_cut(self):
        """The connection is cut while the image is still coming: it goes on where it was."""
        s = self.server()
        data = self.image()
        cut = threading.Event()
        proxy = Proxy(s.port, int(len(data) * self.random.uniform(0.1, 0.4)), lambda: cut.set() or True)
        stream = Stream(self, proxy.port)
        stream.give(data[:len(data) // 2])
        expect(cut.wait(PATIENCE), "nothing was cut")
        stream.give(data[len(data) // 2:])
        same(stream.end(), (0, "RD", ""), "a stream that was cut")
        proxy.close()
        expect(s.request("GET", "/x")[2] == data, "another image")
        same(s.litter(), [], "litter")

    def test_server_killed(self):
        s = self.server()
        data = self.image()
        stream, rest = self.begun(s, data)
        s.kill()
        s.again()
        stream.give(rest)
        same(stream.end(), (0, "RD", ""), "a stream whose server was killed")
        expect(s.request("GET", "/x")[2] == data, "another image")
        same((len(s.objects()), s.litter()), (1, []), "what is there")

    def test_no_room_here(self):
        """No room for the copy, in the middle: one line, and the server forgets what it has."""
        s = self.server()
        data = self.image()
        limit = len(data) // 2
        stream, rest = self.begun(s, data, share=0.3,
                                  limits=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        stream.give(rest)
        status, said, lines = stream.end()
        expect((status, lines) == (125, "") and said.startswith("F") and "File too large" in said and "\n" not in said,
               f"no room: {status}, {said!r}, {lines!r}")
        self.until(lambda: not s.litter(), "what the server keeps")
        same(s.objects(), [], "objects")

    def test_slow_server(self):
        """Whoever writes the image waits for no network: all of it is taken before the server has read a
        byte."""
        data = self.image()
        with socket.create_server(("127.0.0.1", 0)) as listener:   # nobody accepts
            for length in (len(data), len(data) // 2):
                stream = Stream(self, listener.getsockname()[1], "--later")
                expect(stream.give(data[:length]), "it waits for the server")
                if length == len(data):
                    stream.process.stdin.close()
                    expect(select.select([stream.status], [], [], PATIENCE)[0], "it waits for the server")
                    same(os.read(stream.status, 1), b"R", "all of it")
                    stream.process.kill()
                    stream.process.stdin = subprocess.DEVNULL
                    os.close(stream.status)
                else:   # torn, and the server does not even listen
                    status, said, _ = stream.end()
                    expect(status == 125 and "cut off" in said, f"torn: {status}, {said!r}")

    def test_refused(self):
        """A server that does not want it is a reason to stop, and with a fallback none."""
        data = self.image()
        s = self.server("--max-size", str(len(data) - 1))
        stream = Stream(self, s.port)
        stream.give(data[:len(data) // 2])
        self.until(lambda: not stream.give(data[:4096]), "it goes on reading what nobody wants")
        status, said, lines = stream.end()
        expect((status, lines) == (125, "") and said.startswith("F") and "413" in said, f"{status}, {said!r}, {lines!r}")
        keep = self.scratch / "kept"
        keep.mkdir()
        stream = Stream(self, s.port, CKPT_FALLBACK=str(keep))
        stream.give(data)
        status, said, lines = stream.end()
        expect((status, said) == (0, "RD") and "413" in lines and "it is kept in" in lines, f"{status}, {said!r}, {lines!r}")
        same((keep / "x").read_bytes() == data, True, "what is kept")
        same((s.objects(), s.litter()), ([], []), "what is at the server")


if __name__ == "__main__":
    run_tests(Streams)
