#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Images that are not whole: cut short, with a flipped bit, with bytes of something else. A restart
says so in one line, with status 125, before anything of the image has run; and what is whole can be
restarted through ckpt-restart, without permission to execute it, from a pipe."""

import errno
import os
import shutil
import struct
import sys

import harness

LIMIT = 30
# The ELF header and the instructions that check the rest: what they say when they are damaged nobody
# can promise (docs/FORMAT.md). Behind them lies the image's header.
UNCHECKED = 512
SCRATCH_OUTPUT = "witness"


class Good:
    """An image of a program that leaves a trace as soon as any of its code runs again."""

    SCRIPT = """
ready()
n = 0
while not os.path.exists("stop"):
    n += 1
    os.close(os.open("witness", os.O_CREAT | os.O_WRONLY, 0o600))
    time.sleep(0.004)
os.write(1, b"ok\\n")
"""

    def __init__(self, setup, small=True):
        self.setup = setup
        self.session = harness.Session(setup)
        if small:
            argv = self.session.victim("tick", "1")
        else:
            argv = self.session.script(self.SCRIPT)
        self.session.start(argv)
        self.session.checkpoint()
        self.cwd = self.session.cwd
        self.data = self.session.image.read_bytes()
        (self.cwd / SCRATCH_OUTPUT).unlink(missing_ok=True)
        self.bad = self.cwd / "bad.ckpt"
        self.session.stop()

    def write(self, data):
        # A new file each time: the one before may still be mapped by somebody.
        self.bad.unlink(missing_ok=True)
        self.bad.write_bytes(data)
        os.chmod(self.bad, 0o700)
        self.setup.give(self.bad)

    def run(self, how):
        """(status, stdout, stderr); a kernel that does not take the file gives no status."""
        if how == "pipe":
            read, write = os.pipe()
            process = self.setup.start([self.setup.restart, "-"], self.cwd, stdin=read,
                                       timeout=LIMIT)
            os.close(read)
            try:
                with open(write, "wb") as file:
                    file.write(self.bad.read_bytes())
            except BrokenPipeError:
                pass
        else:
            argv = ["./bad.ckpt"] if how == "direct" else [self.setup.restart, "bad.ckpt"]
            try:
                process = self.setup.start(argv, self.cwd, timeout=LIMIT)
            except OSError as error:
                return error.errno, "", ""
        status = process.wait()
        return status, process.out.all().decode(errors="replace"), process.stderr()

    def loaded(self):
        """The ranges of the file that the kernel itself loads: the restarter."""
        offset, = struct.unpack_from("<Q", self.data, 32)
        size, count = struct.unpack_from("<HH", self.data, 54)
        found = [(0, offset + size * count)]
        for i in range(count):
            kind, _, start, _, _, length = struct.unpack_from("<IIQQQQ", self.data,
                                                              offset + i * size)
            if kind == 1:
                found.append((start, start + length))
        return found


def refuse(good, label, how):
    status, out, err = good.run(how)
    if how == "direct" and status in (errno.ENOEXEC, errno.EINVAL, errno.EACCES) and not err:
        return      # the kernel has refused it
    harness.expect_refusal(f"{label}, {how}", status, out, err)
    if (good.cwd / SCRATCH_OUTPUT).exists():
        raise harness.Failure(f"{label}, {how}: code of the image has run")


def truncated(setup, small):
    good = Good(setup, small)
    size = len(good.data)
    restarter = max(end for _, end in good.loaded())
    chosen = setup.random
    lengths = {size - 1, size - 16, size - 4096, size // 2, size // 3, restarter, restarter + 1,
               restarter + 100, restarter + 4096}
    lengths |= {chosen.randrange(restarter, size) for _ in range(12)}
    # Also within the code that has to say so.
    lengths |= {UNCHECKED, restarter - 1, restarter - 4096}
    lengths |= {chosen.randrange(UNCHECKED, restarter) for _ in range(4)}
    # A file system may lose the tail without losing the length.
    for length in sorted(length for length in lengths if UNCHECKED <= length < size):
        good.write(good.data[:length])
        for how in ("direct", "restart", "pipe"):
            refuse(good, f"cut to {length} of {size} bytes", how)
    for length in (0, 1, 3, 4, 63, 64, 100, 1000):
        good.write(good.data[:length])
        for how in ("restart", "pipe"):
            refuse(good, f"cut to {length} bytes", how)
    for length in sorted(chosen.randrange(restarter, size) for _ in range(4)):
        if any(good.data[length:]):
            good.write(good.data[:length] + bytes(size - length))
            for how in ("direct", "restart", "pipe"):
                refuse(good, f"zeroes from {length} of {size}", how)
    good.write(good.data + b"\0" * 4096)
    for how in ("direct", "restart", "pipe"):
        # Bytes behind the end are no part of the image; both answers are honest.
        status, out, err = good.run(how)
        if status != 0 or err:
            harness.expect_refusal(f"longer by a page, {how}", status, out, err)


def flipped(setup, small):
    good = Good(setup, small)
    chosen = setup.random
    size = len(good.data)
    loaded = good.loaded()
    restarter = max(end for _, end in loaded)
    count = 300 if setup.options.full else 60
    positions = [chosen.randrange(restarter, min(size, restarter + 65536)) for _ in range(count)]
    positions += [chosen.randrange(restarter, size) for _ in range(2 * count)]
    positions += [size - 1 - chosen.randrange(min(size - restarter, 65536)) for _ in range(count)]
    passed = []
    for number, at in enumerate(sorted(set(positions))):
        data = bytearray(good.data)
        data[at] ^= 1 << chosen.randrange(8)
        good.write(data)
        how = ("direct", "restart", "pipe")[number % 3]
        status, out, err = good.run(how)
        label = f"a bit flipped in byte {at} of {size}, {how}"
        if status == 0 and not err and not any(good.data[at & ~15:(at & ~15) + 16]):
            # Between the parts of an image lies padding that nobody reads.
            passed.append(at)
            continue
        harness.expect_refusal(label, status, out, err)
    print(f"        {len(set(positions))} bits flipped, {len(passed)} of them in padding")


def restarter_flipped(setup):
    """The restarter checks itself before it runs, and ckpt-restart brings its own. Only of the first
    bytes of all can nothing be promised but an end."""
    good = Good(setup)
    (good.cwd / "stop").touch()
    chosen = setup.random
    seen = {}
    for number in range(90):
        begin, end = chosen.choice([each for each in good.loaded() if each[1] > each[0]])
        at = chosen.randrange(begin, min(end, len(good.data)))
        data = bytearray(good.data)
        data[at] ^= 1 << chosen.randrange(8)
        good.write(data)
        how = ("restart", "pipe", "direct")[number % 3]
        label = f"a bit flipped in byte {at}, {how}"
        if how == "direct" and at < UNCHECKED:
            status, _, _ = good.run(how)
        else:
            status, out, err = good.run(how)
            harness.expect_refusal(label, status, out, err)
        seen[status] = seen.get(status, 0) + 1
    print(f"        statuses: {seen}")


def no_image(setup):
    good = Good(setup)
    shutil.copy("/bin/true", good.cwd / "program")
    for label, data in (("an empty file", b""), ("text", b"#!/bin/sh\necho no\n" * 300),
                        ("another program", (good.cwd / "program").read_bytes()),
                        ("noise", setup.random.randbytes(100_000))):
        good.write(data)
        refuse(good, label, "restart")
        refuse(good, label, "pipe")
    for label, words, said in (("a file that is not there", ["nothing.ckpt"], "nothing.ckpt"),
                               ("a directory", ["."], "directory|image"),
                               ("a device", ["/dev/null"], "/dev/null")):
        status, out, err = setup.run([setup.restart, *words], good.cwd)
        harness.expect_refusal(label, status, out, err, said)
    status, out, err = setup.run([setup.restart], good.cwd)
    if status != harness.REFUSED or not err:
        raise harness.Failure(f"ckpt-restart without an operand: {status}, {err!r}")


def ways(setup):
    """The same image, four ways."""
    good = Good(setup)
    good.write(good.data)
    for how in ("direct", "restart", "pipe"):
        got = good.run(how)
        if got != (0, "ok\n", ""):
            raise harness.Failure(f"{how}: {got!r}")
    os.chmod(good.bad, 0o400)
    got = good.run("restart")
    if got != (0, "ok\n", ""):
        raise harness.Failure(f"without x permission: {got!r}")
    # The image may be gone as soon as the program runs; and it is not the program's directory that
    # counts, but where the program was.
    elsewhere = setup.directory("elsewhere")
    moved = elsewhere / "with a space"
    shutil.copy(good.bad, moved)
    os.chmod(moved, 0o700)
    setup.give(moved)
    got = setup.run([moved], elsewhere)
    if got != (0, "ok\n", ""):
        raise harness.Failure(f"from elsewhere: {got!r}")
    good.session.go_on()
    processes = [setup.start([moved], elsewhere) for _ in range(5)]
    for process in processes:
        process.wait_armed()
    moved.unlink()
    good.session.stop()
    for process in processes:
        status, out, err = process.wait(), process.out.all(), process.stderr()
        if (status, out, err) != (0, b"ok\n", ""):
            raise harness.Failure(f"one of five copies: {status}, {out!r}, {err!r}")


def unreadable(setup):
    if os.geteuid() == 0 and not setup.drops:
        raise harness.Skip("root may read everything")
    good = Good(setup)
    good.write(good.data)
    os.chmod(good.bad, 0o000)
    status, out, err = good.run("restart")
    harness.expect_refusal("unreadable", status, out, err, "bad.ckpt", "permission")


def body(setup):
    harness.run_cases(setup, [
        ("whole images, every way", lambda: ways(setup)),
        ("truncated, small program", lambda: truncated(setup, True)),
        ("truncated, python3", lambda: truncated(setup, False)),
        ("bits flipped, small program", lambda: flipped(setup, True)),
        ("bits flipped, python3", lambda: flipped(setup, False)),
        ("bits flipped in the restarter", lambda: restarter_flipped(setup)),
        ("no image at all", lambda: no_image(setup)),
        ("unreadable", lambda: unreadable(setup)),
    ])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true", help="many more positions")
    sys.exit(harness.main(made, body))
