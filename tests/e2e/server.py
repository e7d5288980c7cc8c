# SPDX-License-Identifier: MIT
"""ckptsrv as its users and its enemies see it: requests, ranges, going on after a cut, names that want
out, tokens, limits, and what is on the disk after each way to end."""

import hashlib
import base64
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_process import Failure, Server, head_of_answer, run_tests, small_disk  # noqa: E402


def expect(so, what):
    if not so:
        raise Failure(what)


def same(got, wanted, what):
    if got != wanted:
        raise Failure(f"{what}: {got!r:.300} instead of {wanted!r:.300}")


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

    def bytes(self, size):
        return self.random.randbytes(size)

    def an_image(self):
        """The image of a real program."""
        path = self.scratch / "an.image"
        if not path.exists():
            ready = self.scratch / "ready"
            program = subprocess.Popen(
                [f"{self.bin}/bin/ckpt", "-n", str(path), sys.executable, "-c",
                 "import sys, time\nopen(sys.argv[1], 'w').close()\ntime.sleep(1000)", str(ready)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            self.processes.append(program)
            # Asked before it is python3, it would be another program that is checkpointed.
            expect(self.wait_until(ready.exists), "no program to make an image of")
            program.send_signal(signal.SIGTSTP)
            said = program.communicate(timeout=60)[1].decode()
            expect(path.exists(), f"no image to test with: {said}")
        return path.read_bytes()

    # --- what it is for ----------------------------------------------------------------------

    def test_requests(self):
        s = self.server()
        data = self.bytes(3_000_001)
        status, head, body = s.request("PUT", "/jobs/a%20b", data)
        same(status, 201, "PUT")
        version = json.loads(body)["version"]
        status, head, body = s.request("GET", "/jobs/a%20b")
        same((status, body), (200, data), "GET")
        same(head["image-version"], str(version), "its version")
        status, head, body = s.request("HEAD", "/jobs/a%20b")
        same((status, head["content-length"], body), (200, str(len(data)), b""), "HEAD")
        tag = head["etag"]
        for first, last in [(0, 0), (5, 99), (len(data) - 1, len(data) + 50), (262144, 262145)]:
            status, head, body = s.request("GET", "/jobs/a%20b", Range=f"bytes={first}-{last}")
            same((status, body), (206, data[first:last + 1]), "a range")
            same(head["content-range"],
                 f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}", "its Content-Range")
        same(s.request("GET", "/jobs/a%20b", Range="bytes=-7")[2], data[-7:], "the last bytes")
        same(s.request("GET", "/jobs/a%20b", Range=f"bytes={len(data)}-")[0], 416, "beyond the end")
        for odd in ("bytes=1-2,5-6", "lines=1-2", "bytes=9-2", "bytes=x-", "bytes"):
            same(s.request("GET", "/jobs/a%20b", Range=odd)[::2], (200, data), f"Range: {odd}")
        same(s.request("GET", "/jobs/a%20b", Range="bytes=0-1", If_Range='"other"')[2], data,
             "a range of another version")
        same(s.request("GET", "/jobs/a%20b", Range="bytes=0-1", If_Range=tag)[2], data[:2],
             "a range of this version")
        listed = json.loads(s.request("GET", "/")[2])["images"]
        same([(i["name"], i["size"]) for i in listed], [("jobs/a b", len(data))], "the list")
        same(s.request("PUT", "/jobs/a%20b", b"other")[0], 201, "replacing")
        same(s.request("GET", "/jobs/a%20b")[2], b"other", "what replaced it")
        same(len(s.objects()), 1, "objects on the disk")
        same(s.request("GET", "/none")[0], 404, "what is not there")
        same(s.request("POST", "/a", b"x")[0], 405, "POST")
        same(s.request("DELETE", "/jobs/a%20b")[0], 200, "DELETE")
        same(s.request("DELETE", "/jobs/a%20b")[0], 404, "DELETE again")
        same(s.objects() + s.litter(), [], "files after that")
        # Not whole: refused, and nothing stays.
        same(s.request("PUT", "/empty", b"")[0], 201, "an empty file")
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        same(s.request("PUT", "/d", data, Content_Digest=f"sha-256=:{digest}:")[0], 201, "a digest")
        same(s.request("PUT", "/e", data[1:], Content_Digest=f"sha-256=:{digest}:")[0], 422,
             "a wrong digest")
        same(s.request("GET", "/e")[0], 404, "what had a wrong digest")
        same(s.litter(), [], "litter")
        same(s.stop(), 0, "the server's status")

    def test_curl(self):
        s = self.server()
        data = self.bytes(2_000_000)
        file = self.scratch / "curl.data"
        file.write_bytes(data)
        at = f"http://127.0.0.1:{s.port}/c"

        def curl(*words, **more):
            done = subprocess.run(["curl", "-sS", "--fail", *words], capture_output=True, check=False,
                                  **more)
            same((done.returncode, done.stderr), (0, b""), f"curl {words}")
            return done.stdout

        curl("-T", str(file), at)
        same(curl(at), data, "by curl")
        curl("-T", "-", at, input=data[:777_777])
        same(curl(at), data[:777_777], "chunked by curl")
        same(curl("-r", "10-19", at), data[10:20], "a range by curl")
        same(len(json.loads(curl(f"http://127.0.0.1:{s.port}/"))["images"]), 1, "a list by curl")
        curl("-X", "DELETE", at)

    def test_compressed(self):
        for tool in ("zstd", "lz4"):
            if shutil.which(tool) is None:
                print(f"  {tool} is not installed")
                continue
            s = self.server("--keep", "3")
            data = self.bytes(300_000) + bytes(5_000_000) + self.bytes(300_000)
            packed = subprocess.run([tool, "-c"], input=data, capture_output=True, check=True).stdout
            same(s.request("PUT", "/z", packed, Content_Encoding=tool)[0], 201, tool)
            same(s.request("GET", "/z")[2], data, f"{tool}, decoded")
            status, head, body = s.request("GET", "/z", Accept_Encoding=f"gzip, {tool}")
            same((head["content-encoding"], body), (tool, packed), f"{tool}, as it is stored")
            for _ in range(20):
                first = self.random.randrange(len(data))
                last = min(len(data) - 1, first + self.random.randrange(600_000))
                status, _, body = s.request("GET", "/z", Range=f"bytes={first}-{last}")
                same((status, body == data[first:last + 1]), (206, True), f"{tool}, {first}-{last}")
            for bad in (packed[:-1], packed[:len(packed) // 2], packed + b"x", b"no " + tool.encode()):
                same(s.request("PUT", "/y", bad, Content_Encoding=tool)[0], 422, f"torn {tool}")
            same(s.request("GET", "/y")[0], 404, "the torn one")
            same(s.litter(), [], "litter")
            s.stop()
        s = self.server()
        same(s.request("PUT", "/z", b"x", Content_Encoding="br")[0], 415, "an unknown coding")

    def test_images_are_verified(self):
        s = self.server()
        image = self.an_image()
        same(s.request("PUT", "/i", image)[0], 201, "an image")
        same(json.loads(s.request("GET", "/")[2])["images"][0]["image"], True, "known as an image")
        places = [513, 600, 700, 5000, 140_000, len(image) // 2, len(image) - 60, len(image) - 5]
        for at in places:
            torn = bytearray(image)
            torn[at] ^= 0x40
            status, _, body = s.request("PUT", "/i", bytes(torn))
            # Without its mark it is no image, but some file.
            same(status, 201 if at == 513 else 422, f"byte {at} changed ({body})")
            if at == 513:
                same(s.request("PUT", "/i", image)[0], 201, "the image again")
        for size in (len(image) - 1, len(image) // 2, 100_000):
            same(s.request("PUT", "/i", image[:size])[0], 422, f"cut off at {size}")
        same(s.request("PUT", "/i", image + b"\0")[0], 422, "a byte too many")
        same(s.request("GET", "/i")[2] == image, True, "what is there still")
        same(s.litter(), [], "litter")
        s.stop()
        s = self.server("--only-images")
        same(s.request("PUT", "/f", b"some file")[0], 422, "some file where only images may be")
        same(s.request("PUT", "/i", image)[0], 201, "an image there")

    def test_retention(self):
        s = self.server("--keep", "3")
        versions = []
        for i in range(5):
            versions.append(json.loads(s.request("PUT", "/v", b"%d" % i)[2])["version"])
        same(s.request("GET", "/v")[2], b"4", "the newest")
        same(s.request("GET", f"/v?version={versions[2]}")[2], b"2", "an older one")
        same(s.request("GET", f"/v?version={versions[1]}")[0], 404, "one too old")
        same(len(s.objects()), 3, "objects")
        same(s.request("DELETE", f"/v?version={versions[4]}")[0], 200, "removing the newest")
        same(s.request("GET", "/v")[2], b"3", "what is the newest then")
        same(s.request("GET", "/v?version=x")[0], 400, "a version that is no number")

    # --- who wants out, and in -----------------------------------------------------------------

    def test_move(self):
        s = self.server("--keep", "3")
        for name, body in (("a", b"1"), ("a", b"2"), ("b", b"3")):
            same(s.request("PUT", "/" + name, body)[0], 201, "an upload")
        same(s.request("MOVE", "/a", Destination="/b", Overwrite="F")[0], 412, "over another, which may not be")
        same([s.request("GET", f"/{n}")[2] for n in "ab"], [b"2", b"3"], "what is there")
        for to in ("", "/", "b", "/../b", "/%2e%2e/b", "/b?version=1", "http://h"):
            same(s.request("MOVE", "/a", Destination=to)[0], 400, f"to {to!r}")
        same(s.request("MOVE", "/none", Destination="/b")[0], 404, "what is not there")
        same(s.request("MOVE", "/a?version=1", Destination="/b")[0], 400, "one version")
        same(s.request("MOVE", "/a", Destination="/a", Overwrite="F")[0], 201, "to itself")
        same(s.request("MOVE", "/a", Destination=f"http://127.0.0.1:{s.port}/c/d%20e")[0], 201, "to a whole URL")
        same(s.request("MOVE", "/c/d%20e", Destination="/b")[0], 201, "over another")
        same([(i["name"], i["size"]) for i in s.json()], [("b", 1), ("b", 1)], "both versions")
        same((s.request("GET", "/b")[2], len(s.objects())), (b"2", 2), "the newest, and what was under the name is gone")
        s.kill()
        s.elsewhere()
        same(s.request("GET", "/b")[2], b"2", "after a kill")

    def test_names(self):
        s = self.server()
        secret = s.directory / "objects" / "secret"
        bad = ["/../secret", "/a/../../secret", "/%2e%2e/secret", "/.%2e/secret", "/%2E%2E%2Fsecret",
               "/..%2fsecret", "/%252e%252e%252fsecret", "/..%5csecret", "/..\\secret",
               "/%c0%ae%c0%ae/secret", "/%e0%80%ae./x", "/a//b", "/a/", "//a", "/./a", "/a/.",
               "/a%00b", "/a%0ab", "/a%7f", "/%", "/%4", "/%zz", "/" + "x" * 256, "/x" * 600,
               "/%ff", "/%ed%a0%80", "/..", "http://h/../x", "/a?b=c", "/a/..%00/b"]
        for target in bad:
            for method, body in (("GET", b""), ("PUT", b"x"), ("DELETE", b"")):
                with s.socket() as c:
                    c.sendall(f"{method} ".encode() + target.encode("latin-1") +
                              b" HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                    same(head_of_answer(c)[0], 400, f"{method} {target}")
        same(s.objects() + s.litter(), [], "files after that")
        expect(not secret.exists(), "a file came to be outside")
        for target, name in [("/a.b/..c", "a.b/..c"), ("/%C3%A9", "\u00e9"), ("/100%25", "100%"),
                             ("http://h:1/abs", "abs"), ("/" + "x" * 255, "x" * 255)]:
            same(json.loads(s.request("PUT", target, b"x")[2])["name"], name, target)

    def test_malformed(self):
        s = self.server()
        for request, wanted in [
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", (0, 400)),
                (b"GET / HTTP/9.9\r\n\r\n", (0, 400)), (b"GET /\r\n\r\n", (0, 400)),
                (b"GET / HTTP/1.1\r\nA: " + b"x" * 20_000 + b"\r\n\r\n", (431,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\n\r\n", (411,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n", (400,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999999999999999999\r\n\r\n", (400,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", (400,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9999999999999\r\n\r\n", (413,)),
                (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx", (400,)),
                (b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", (400,)),
                (b"GET /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nGET /", (400,))]:
            with s.socket() as c:
                c.sendall(request)
                expect(head_of_answer(c)[0] in wanted, f"{request[:60]} was not answered by {wanted}")
        # Two requests in one go are two answers; the bytes of a body are no request.
        with s.socket() as c:
            c.sendall(b"PUT /p HTTP/1.1\r\nHost: h\r\nContent-Length: 18\r\n\r\nDELETE /p HTTP/1.1"
                      b"GET /p HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            data = b""
            while piece := c.recv(65536):
                data += piece
            expect(data.count(b"HTTP/1.1 20") == 2 and data.endswith(b"DELETE /p HTTP/1.1"),
                   f"two requests at once: {data}")
        same(s.litter(), [], "litter")

    def test_chunks(self):
        """What RFC 9112 has, and nothing else: where two read a body differently, a request hides in it."""
        s = self.server()
        head = b"PUT /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        follows = b"GET /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

        def answers(request, pause=False):
            with s.socket() as c:
                for part in ([request[i:i + 1] for i in range(len(request))] if pause else [request]):
                    try:
                        c.sendall(part)
                    except OSError:
                        break
                data = b""
                try:
                    while piece := c.recv(65536):
                        data += piece
                except OSError:
                    pass
                return data

        for body in (b"3\r\nabc\r\n0\r\n\r\n", b"003;name=\"v\"\r\nabc\r\n0;x\r\n\r\n", b"1\r\na\r\n2 \r\nbc\r\n0\r\nA: b\r\nC:\r\n\r\n"):
            for pause in (False, True):
                data = answers(head + body + follows, pause)
                expect(data.count(b"HTTP/1.1 20") == 2 and data.endswith(b"\r\n\r\nabc"), f"{body}: {data}")
        s.request("DELETE", "/c")
        for body in (b"3\nabc\r\n0\r\n\r\n", b"3\r\nabcd\r\n0\r\n\r\n", b"3\r\nabc\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\n", b"-3\r\nabc\r\n",
                     b"0x3\r\nabc\r\n0\r\n\r\n", b"\r\n", b"10000000000000000\r\n", b"3;" + b"x" * 5000 + b"\r\nabc\r\n",
                     b"3;\x00\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n" + b"A: b\r\n" * 5000 + b"\r\n", b"3\r\nabc\r\n0\r\n folded: x\r\n\r\n"):
            data = answers(head + body + follows)
            expect(data.startswith(b"HTTP/1.1 400") and data.count(b"\r\nDate: ") == 1, f"{body[:40]}: {data}")
        both = head.replace(b"Transfer", b"Content-Length: 3\r\nTransfer")
        other = head.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\n")
        twice = head.replace(b"chunked", b"chunked, chunked")
        unknown = head.replace(b"chunked", b"gzip, identity")
        for request in (both, other, twice, unknown):
            data = answers(request + b"3\r\nabc\r\n0\r\n\r\n" + follows)
            expect(data.startswith((b"HTTP/1.1 400", b"HTTP/1.1 411", b"HTTP/1.1 501")) and data.count(b"\r\nDate: ") == 1, f"{request}: {data}")
        same((s.request("GET", "/c")[0], s.litter(), s.objects()), (404, [], []), "what is kept of all that")

    def test_tokens(self):
        file = self.scratch / "tokens"
        file.write_text("# who\nwriter-1234\nreader-1234 read\n")
        file.chmod(0o644)
        failed = subprocess.run([f"{self.bin}/bin/ckptsrv", "-p", "0", "-d", str(self.scratch / "t"),
                                 "--token-file", str(file)], capture_output=True, timeout=60, check=False)
        expect(failed.returncode == 1 and b"chmod 600" in failed.stderr, f"an open token file: {failed}")
        file.chmod(0o600)
        s = self.server("--token-file", str(file))
        writer, reader = "Bearer writer-1234", "bearer reader-1234"
        same(s.request("PUT", "/a", b"x" * 100_000)[0], 401, "no token")
        same(s.request("PUT", "/a", b"x", Authorization="Bearer writer-123")[0], 401, "a wrong token")
        same(s.request("PUT", "/a", b"x", Authorization="Bearer")[0], 401, "an empty token")
        same(s.request("PUT", "/a", b"x", Authorization=reader)[0], 403, "a reader who writes")
        same(s.request("PUT", "/a", b"x", Authorization=writer)[0], 201, "a writer")
        same(s.request("GET", "/a", Authorization=reader)[2], b"x", "a reader")
        same(s.request("GET", "/")[0], 401, "a list without a token")
        same(s.request("DELETE", "/a", Authorization=reader)[0], 403, "a reader who removes")
        expect("writer-1234" not in s.said, "the server says tokens")

    def test_what_it_refuses_to_be(self):
        def refused(*words):
            done = subprocess.run([f"{self.bin}/bin/ckptsrv", "-p", "0", "-d", str(self.scratch / "r"),
                                   *words], capture_output=True, timeout=60, check=False)
            return done.returncode, done.stderr.decode()
        for words, status, text in [
                (["--bind", "0.0.0.0"], 2, "--insecure"), (["--bind", "::"], 2, "--insecure"),
                (["--legacy", "--bind", "0.0.0.0", "--insecure"], 2, "loopback"),
                (["--keep", "0"], 2, "--keep"), (["--max-size", "x"], 2, "--max-size"),
                (["--nonsense"], 2, "nonsense"), (["--cert", "/none"], 1, "certificate"),
                (["--key", "/none"], 2, "--cert")]:
            got = refused(*words)
            expect(got[0] == status and text in got[1] and got[1].count("\n") == 1, f"{words}: {got}")
        s = self.server()
        done = subprocess.run([f"{self.bin}/bin/ckptsrv", "-p", "0", "-d", str(s.directory)],
                              capture_output=True, timeout=60, check=False)
        expect(done.returncode == 1 and b"another ckptsrv" in done.stderr, f"two in one directory: {done}")
        done = subprocess.run([f"{self.bin}/bin/ckptsrv", "-p", str(s.port), "-d", str(self.scratch / "q")],
                              capture_output=True, timeout=60, check=False)
        expect(done.returncode == 1 and b"cannot listen" in done.stderr, f"two at one port: {done}")
        home = self.scratch / "home"
        home.mkdir()
        other = Server(self.bin, home / ".local/state/ckptsrv",
                       environment={"HOME": str(home), "PATH": os.environ["PATH"]})
        del other.command[1:3]
        self.servers.append(other.start())
        same(other.request("PUT", "/a", b"x")[0], 201, "in the user's state directory")
        same(len(other.objects()), 1, "objects there")

    # --- cuts ----------------------------------------------------------------------------------

    def test_cut_at_every_percent(self):
        s = self.server()
        old, new = self.bytes(50_000), self.bytes(100_000)
        same(s.request("PUT", "/n", old)[0], 201, "the old one")
        head = b"PUT /n HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(new)
        chunked = b"PUT /n HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        body = b"".join(b"%x\r\n" % len(new[i:i + 9999]) + new[i:i + 9999] + b"\r\n"
                        for i in range(0, len(new), 9999)) + b"0\r\n\r\n"
        for percent in range(100):
            for whole in (head + new, chunked + body):
                with s.socket() as c:
                    c.sendall(whole[:len(whole) * percent // 100])
                    if percent % 2 == 1:   # a reset instead of an end
                        c.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        same(s.request("GET", "/n")[2] == old, True, "the old one after 200 cuts")
        expect(self.wait_until(lambda: not s.litter()), f"litter: {s.litter()}")
        s.forget()
        with s.socket() as c:
            c.sendall(head + new[:70_000])
        s.wait_for("nothing is kept")
        expect("PUT n: the connection was cut" in s.said, f"what the server says of a cut: {s.said}")

    def test_going_on_after_a_cut(self):
        s = self.server()
        for round_number in range(20):
            data = self.bytes(self.random.randrange(1, 2_000_000))
            identity = self.bytes(16).hex()
            sent = 0
            for _ in range(4):
                piece = data[sent:sent + self.random.randrange(1 + len(data) - sent)]
                with s.socket() as c:
                    c.sendall(f"PUT /r HTTP/1.1\r\nHost: h\r\nUpload-Id: {identity}\r\n"
                              f"Upload-Offset: {sent}\r\nContent-Length: {len(data) - sent}\r\n\r\n".encode())
                    c.sendall(piece)
                    c.shutdown(socket.SHUT_WR)
                    c.recv(1)
                status, head, _ = s.request("HEAD", "/r", Upload_Id=identity)
                same(status, 200, "asking for the offset")
                expect(sent <= int(head["upload-offset"]) <= len(data), "an offset")
                if "upload-complete" in head:
                    sent = len(data)
                    break
                sent = int(head["upload-offset"])
            if sent < len(data):
                same(s.request("PUT", "/r", data[sent:], Upload_Id=identity, Upload_Offset=str(sent))[0],
                     201, "the rest")
            same(s.request("GET", "/r")[2] == data, True, f"round {round_number}, the whole")
            status, head, _ = s.request("HEAD", "/r", Upload_Id=identity)
            same((status, head.get("upload-complete")), (200, "?1"), "a lost reply is told again")
            same(s.request("PUT", "/r", b"x", Upload_Id=identity)[0], 409, "the same upload once more")
        same(s.request("PUT", "/r", b"x", Upload_Id=self.bytes(16).hex(), Upload_Offset="5")[0], 409,
             "going on with nothing")
        same(s.request("PUT", "/r", b"x", Upload_Id="short")[0], 400, "an id that can be guessed")
        # What waits for its client is gone with the server.
        with s.socket() as c:
            c.sendall(b"PUT /w HTTP/1.1\r\nHost: h\r\nUpload-Id: %s\r\nContent-Length: 99\r\n\r\nx" %
                      self.bytes(16).hex().encode())
            c.shutdown(socket.SHUT_WR)
            c.recv(1)
        same(len(s.litter()), 1, "what waits for its client")
        same(s.stop(), 0, "status")
        same(s.litter(), [], "litter after the end")

    def test_two_at_once(self):
        s = self.server()
        bodies = [bytes([n]) * 400_000 for n in range(1, 9)]
        answers = []

        def put(body):
            answers.append(s.request("PUT", "/same", body)[0])

        threads = [threading.Thread(target=put, args=(b,)) for b in bodies]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        same(answers, [201] * len(bodies), "eight uploads of one name at once")
        expect(s.request("GET", "/same")[2] in bodies, "what is there is none of them")
        same(len(s.objects()), 1, "objects")

    def full_kill(self):
        """SIGKILL at random moments: what was acknowledged is there and whole, and nothing else."""
        s = self.server("--keep", "2")
        for round_number in range(60):
            acknowledged = {}
            tried = {}
            stop = threading.Event()

            def client(number):
                mine = random.Random(self.random.random())
                while not stop.is_set():
                    data = mine.randbytes(mine.randrange(1, 300_000))
                    tried.setdefault(number, []).append(data)
                    try:
                        if s.request("PUT", f"/k{number}", data)[0] == 201:
                            acknowledged[number] = data
                    except OSError:
                        return
                    except Exception:   # http.client's own, at a cut
                        return

            threads = [threading.Thread(target=client, args=(n,)) for n in range(6)]
            for t in threads:
                t.start()
            time.sleep(self.random.uniform(0.02, 0.5))
            s.kill()
            stop.set()
            for t in threads:
                t.join()
            s.elsewhere()
            for number, data in acknowledged.items():
                status, _, body = s.request("GET", f"/k{number}")
                same(status, 200, f"round {round_number}: an acknowledged image")
                behind = tried[number][tried[number].index(data):]
                expect(body in behind, f"round {round_number}: /k{number} is older than what was acknowledged, or torn")
            same(s.litter(), [], f"round {round_number}: litter")
            listed = json.loads(s.request("GET", "/")[2])["images"]
            same(len(s.objects()), len(listed), f"round {round_number}: objects without a name")

    def test_stop(self):
        """SIGTERM: an upload that is under way still ends well."""
        s = self.server()
        with s.socket() as c, s.socket() as idle:
            c.sendall(b"PUT /late HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n12345")
            expect(self.wait_until(s.litter), "the upload has not begun")
            same(s.request("GET", "/late")[0], 404, "one who came after the idle one")
            s.process.terminate()
            same(idle.recv(1), b"", "an idle connection")
            c.sendall(b"67890")
            same(head_of_answer(c)[0], 201, "the upload")
        same(s.process.wait(60), 0, "status")
        s.process.stderr.close()
        s.elsewhere()
        same(s.request("GET", "/late")[2], b"1234567890", "what came late")

    # --- limits --------------------------------------------------------------------------------

    def test_slow_clients(self):
        s = self.server("--timeout", "1")
        with s.socket() as a, s.socket() as b:
            b.sendall(b"GET / HT")
            for connection in (a, b):
                expect(self.is_closed(connection), "who says nothing is waited for")

        # Should this machine stand still before all of it is sent, it has not been an upload yet.
        def upload_that_stops():
            with s.socket() as c:
                c.sendall(b"PUT /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nx")
                expect(self.is_closed(c), "an upload that stops is waited for")
            while s.read(0.2):
                pass
            return "nothing has come for 1 s after 1 bytes" in s.said

        expect(self.wait_until(upload_that_stops), f"what the server says of an upload that stops: {s.said}")

        # A head that comes byte by byte has no more time than another. Only one that has never paused for
        # as long as the limit shows that.
        def byte_by_byte():
            widest, last = 0.0, time.monotonic()
            end = last + 30
            with s.socket() as d:
                try:
                    while last < end:
                        d.sendall(b"G")
                        time.sleep(0.05)
                        now = time.monotonic()
                        widest, last = max(widest, now - last), now
                    raise Failure("a head that comes byte by byte is waited for")
                except OSError:
                    return widest < 1

        expect(self.wait_until(byte_by_byte), "no head came without a pause")
        expect(self.wait_until(lambda: not s.litter()), f"litter: {s.litter()}")

    @staticmethod
    def is_closed(connection):
        """Waits for the other side to end it."""
        try:
            while connection.recv(4096):
                pass
        except TimeoutError:
            return False
        except OSError:
            pass
        return True

    def test_limits(self):
        s = self.server("--max-size", "100K", "--max-uploads", "2", "--max-connections", "20")
        same(s.request("PUT", "/l", b"x" * 102_401)[0], 413, "too large")
        with s.socket() as c:
            c.sendall(b"PUT /l HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" +
                      b"10000\r\n" + b"x" * 65536 + b"\r\n" + b"10000\r\n" + b"x" * 65536 + b"\r\n0\r\n\r\n")
            same(head_of_answer(c)[0], 413, "too large, and nobody knew")
        with s.socket() as a, s.socket() as b:
            for c in (a, b):
                c.sendall(b"PUT /l HTTP/1.1\r\nHost: h\r\nContent-Length: 99\r\n\r\nx")
            expect(self.wait_until(lambda: len(s.litter()) == 2), f"two uploads: {s.litter()}")
            same(s.request("PUT", "/l", b"x")[0], 503, "a third upload")
        expect(self.wait_until(lambda: not s.litter()), f"litter: {s.litter()}")
        crowd = [s.socket() for _ in range(20)]

        def turned_away():   # those before it in the queue have been taken
            with s.socket() as c:
                c.settimeout(10)
                return head_of_answer(c)[0] == 503

        expect(self.wait_until(turned_away), "one connection more than --max-connections is served")
        for c in crowd:
            c.close()
        expect(self.wait_until(lambda: s.request("GET", "/")[0] == 200), "nobody is served after a crowd")

    @staticmethod
    def wait_until(so):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                if so():
                    return True
            except OSError:
                pass
            time.sleep(0.05)
        return False

    def test_idle_connections(self):
        import resource
        wanted = 10_000 if self.full else 400
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < wanted + 200:
            print(f"  only {hard} descriptors here")
            wanted = hard - 200
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        s = self.server("--timeout", "300")
        before = self.memory(s)
        # Addresses of loopback have ports enough each.
        crowd = []
        try:
            for i in range(wanted):
                c = socket.socket()
                c.bind((f"127.0.0.{1 + i % 4}", 0))
                c.connect(("127.0.0.1", s.port))
                crowd.append(c)
            same(s.request("PUT", "/crowd", b"x" * 100_000)[0], 201, f"an upload beside {wanted} others")
            same(s.request("GET", "/crowd")[2], b"x" * 100_000, f"a download beside {wanted} others")
            each = (self.memory(s) - before) / wanted
            print(f"  {wanted} idle connections, {each:.1f} KiB each")
            expect(each < 32, f"{each:.1f} KiB for an idle connection")
        finally:
            for c in crowd:
                c.close()

    @staticmethod
    def memory(s):
        for line in pathlib.Path(f"/proc/{s.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1])
        return 0

    def test_disk_full(self):
        with small_disk(self.scratch / "disk", 4) as disk:
            if disk is None:
                return
            s = Server(self.bin, disk / "d").start()
            self.servers.append(s)
            old = self.bytes(1_000_000)
            same(s.request("PUT", "/full", old)[0], 201, "what fits")
            same(s.request("PUT", "/full", bytes(6_000_000))[0], 507, "what does not fit")
            with s.socket() as c:
                chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
                c.sendall(b"PUT /full HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
                try:
                    c.sendall(chunk * 6 + b"0\r\n\r\n")
                except OSError:
                    pass
                same(head_of_answer(c)[0], 507, "what does not fit, and nobody knew")
            same(s.request("GET", "/full")[2] == old, True, "the old one")
            same(s.litter(), [], "litter")
            same(s.request("PUT", "/small", b"x")[0], 201, "a small one afterwards")
            s.stop()

    def test_tls(self):
        made = subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout",
             str(self.scratch / "key.pem"), "-out", str(self.scratch / "cert.pem"), "-days", "2", "-subj",
             "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            capture_output=True, check=False)
        if made.returncode != 0:
            print("  no openssl here")
            return
        s = self.server("--cert", str(self.scratch / "cert.pem"), "--key", str(self.scratch / "key.pem"))
        data = self.bytes(1_500_000)
        file = self.scratch / "tls.data"
        file.write_bytes(data)
        at = f"https://127.0.0.1:{s.port}/t"
        trusting = ["curl", "-sS", "--fail", "--cacert", str(self.scratch / "cert.pem")]
        subprocess.run([*trusting, "-T", str(file), at], check=True, capture_output=True)
        same(subprocess.run([*trusting, at], check=True, capture_output=True).stdout == data, True, "over TLS")
        with s.socket() as c:   # plain HTTP there
            c.sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            try:
                answer = c.recv(4096)
            except ConnectionResetError:
                answer = b""
            expect(b"200" not in answer, "plain HTTP was served where TLS is spoken")
        with s.socket() as c:
            c.sendall(b"\x16\x03\x01")   # and then nothing
            same(subprocess.run([*trusting, at], check=True, capture_output=True).stdout == data, True, "over TLS again")

    def test_legacy(self):
        s = self.server("--legacy")
        image = self.an_image()

        def ask(operation, name, data=None):
            with s.socket() as c:
                c.sendall(bytes([operation]) + len(name).to_bytes(4, "big") + name)
                answer = c.recv(1)
                if data is not None and answer == b"\0":
                    c.sendall(data)
                    c.shutdown(socket.SHUT_WR)
                got = b""
                try:
                    while piece := c.recv(1 << 20):
                        got += piece
                except OSError:
                    pass
                return answer, got

        same(ask(2, b"old")[0], b"\1", "access before")
        ask(0, b"old", image)
        expect(self.wait_until(lambda: ask(2, b"old")[0] == b"\0"), "a whole image is kept")
        same(ask(1, b"old") == (b"\0", image), True, "restore")
        ask(0, b"old", image[:-1])
        ask(0, b"other", b"no image")
        s.wait_for("not a ckpt image")
        same(ask(1, b"old")[1] == image, True, "restore after a torn upload")
        same(ask(0, b"../x")[0], b"\1", "a name that wants out")
        same(ask(0, b"x" * 2000)[0], b"\1", "a long name")
        same(ask(3, b"old")[0], b"\0", "remove")
        same(ask(2, b"old")[0], b"\1", "access afterwards")
        same(s.request("PUT", "/http", b"x")[0], 201, "HTTP at the same port")
        expect(self.wait_until(lambda: not s.litter()), f"litter: {s.litter()}")
        t = self.server("--timeout", "2")
        with t.socket() as c:
            c.sendall(bytes([2, 0, 0, 0, 1]) + b"x")
            try:
                answer = c.recv(1)
            except ConnectionResetError:
                answer = b""
            expect(answer not in (b"\0", b"\1"), "the old protocol is spoken by default")


if __name__ == "__main__":
    run_tests(Tests)
