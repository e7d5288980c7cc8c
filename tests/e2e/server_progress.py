# SPDX-License-Identifier: MIT
"""The progress bar of ckpt-transfer: on a terminal, while it takes a while, and gone without a trace when it
ends, well or not; never where a log is kept."""

import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_faults import Images  # noqa: E402
from server_images import PATIENCE, expect, same  # noqa: E402
from server_process import run_tests  # noqa: E402

CLEAR = "\r\x1b[K"


class Terminal:
    """One that `put -` has for its standard error, and what is seen on it."""

    def __init__(self, tests, port, *options):
        self.ours, theirs = pty.openpty()
        self.seen = ""
        self.process = subprocess.Popen([f"{tests.bin}/bin/ckpt-transfer", *options, "put", "-", f"cssrv://127.0.0.1:{port}/p"],
                                        stdin=subprocess.PIPE, stdout=theirs, stderr=theirs)
        os.close(theirs)
        tests.processes.append(self.process)

    def give(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def look(self):
        """False at the end."""
        try:
            while select.select([self.ours], [], [], 0)[0]:
                piece = os.read(self.ours, 65536)
                if not piece:
                    return False
                self.seen += piece.decode()
        except OSError:
            return False
        return True

    def end(self):
        self.process.stdin.close()
        end = time.monotonic() + PATIENCE
        while self.look():
            expect(time.monotonic() < end, f"it does not end: {self.seen!r}")
            time.sleep(0.01)
        os.close(self.ours)
        return self.process.wait(PATIENCE)


class Progress(Images):
    def test_progress_bar(self):
        s = self.server()
        data = self.images()[0].read_bytes()
        log = self.scratch / "log"
        bar, torn, quiet, later = (Terminal(self, s.port, *options) for options in ((), (), ("--quiet",), ("--later",)))
        logged = subprocess.Popen([f"{self.bin}/bin/ckpt-transfer", "put", "-", f"cssrv://127.0.0.1:{s.port}/l"],
                                  stdin=subprocess.PIPE, stdout=log.open("w"), stderr=subprocess.STDOUT)
        self.processes.append(logged)
        everybody = [bar.process, torn.process, quiet.process, later.process, logged]
        at, step = len(data) // 2, 512
        pieces = [data[:at]]
        end = time.monotonic() + PATIENCE
        # All get the same at the same time, until both who should show how far they are do so.
        while not ("MiB/s" in bar.seen and "MiB/s" in torn.seen):
            expect(time.monotonic() < end and at + step < len(data), f"no bar: {bar.seen!r}, {torn.seen!r}")
            for process in everybody:
                process.stdin.write(pieces[-1])
                process.stdin.flush()
            pieces.append(data[at:at + step])
            at += step
            time.sleep(0.02)
            bar.look()
            torn.look()
        rest = data[at - step:]
        for process in (bar.process, quiet.process, later.process, logged):
            process.stdin.write(rest)
        logged.stdin.close()
        same((bar.end(), quiet.end(), later.end(), logged.wait(PATIENCE)), (0, 0, 0, 0), "the ends")
        lines = bar.seen.removesuffix(CLEAR)
        whole = len(data) >> 20
        expect(bar.seen.endswith(CLEAR) and "\n" not in bar.seen and
               re.fullmatch(rf"(\rckpt: \d+ of {whole} MiB, \d+ %, \d+ MiB/s\x1b\[K)+", lines), f"the bar: {bar.seen!r}")
        same((quiet.seen, later.seen, log.read_text()), ("", "", ""), "where no bar is wanted, or nobody waits")
        same(torn.end(), 125, "one that is torn")
        before, line = torn.seen.rsplit(CLEAR, 1)
        expect("\n" not in before and re.fullmatch(r"ckpt: cannot send the image to [^\n]*cut off[^\n]*\r\n", line),
               f"the line behind a bar: {torn.seen!r}")
        expect(s.request("GET", "/p")[2] == data, "the image")


if __name__ == "__main__":
    run_tests(Progress)
