#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Checkpoints that cannot be written: disk full, a file size limit, a directory that takes nothing or
is gone, a name that a directory has. The program goes on, one line on its standard error says why,
and the image made before is whole and still restarts."""

import hashlib
import os
import re
import sys
import time

import harness


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Fault:
    """A program with a good image, then a checkpoint that must fail, then one that must not."""

    def __init__(self, setup, program="tick", words=("2",), image=None):
        self.setup = setup
        self.session = harness.Session(setup)
        if image:
            self.session.IMAGE = str(image)
            self.session.image = image
        self.session.start(self.session.victim(program, *words), "-c")
        self.process = self.session.process
        self.lines = 0

    @property
    def image(self):
        return self.session.image

    def good(self):
        before = self.said()
        harness.checkpoint_and_continue(self.process, self.image)
        if self.said() != before:
            raise harness.Failure(f"success is silent, but: {self.said()[len(before):]!r}")
        harness.check_image(self.setup, self.image)
        self.sum = digest(self.image)

    def said(self):
        return self.process.err.seen().decode(errors="replace")

    def bad(self, *words, image_there=True):
        """A checkpoint that fails: one more line, the image as it was, the program at work."""
        before = self.said()
        listing = sorted(os.listdir(self.image.parent)) if self.image.parent.exists() else None
        self.process.signal(harness.TRIGGER)
        self.process.wait_until(lambda: self.said().endswith("\n") and len(self.said()) >
                                len(before), "a line that says why")
        time.sleep(0.1)
        harness.expect_line("the failed checkpoint", self.said()[len(before):], *words)
        worked = self.process.work()
        self.process.wait_until(lambda: self.process.work() > worked + 0.02, "it goes on working")
        if listing is not None:
            now = sorted(os.listdir(self.image.parent))
            if now != listing:
                raise harness.Failure(f"files left: {set(now) - set(listing)}, "
                                      f"gone: {set(listing) - set(now)}")
        if image_there and digest(self.image) != self.sum:
            raise harness.Failure("the image made before has changed")

    def end(self, restart=True):
        """The program ends as if nothing had been, and the last good image restarts."""
        said = self.said()
        self.session.output = b""
        output = b"ready\nok\n"
        if self.process.out.seen() != b"ready\n":
            output = b"ready\ngrown\nok\n"
        self.session.end(output=output, stderr=said)
        self.setup.check_nothing_left()
        if restart:
            self.session.go_on()
            self.session.output = b"ready\n"
            process = self.setup.start([self.image], self.session.cwd)
            self.session.process = process
            process.wait_armed()
            self.session.end(what="the image made before")


def disk_full(setup):
    full(setup, harness.mount_tmpfs(setup, "small", "16m"), "space|ENOSPC")


def quota(setup):
    if not setup.drops:
        raise harness.Skip("root has no quota")
    full(setup, harness.mount_tmpfs(setup, "quota", "64m", ",usrquota,usrquota_block_hardlimit=16m"),
         "quota|EDQUOT")


def full(setup, small, why):
    fault = Fault(setup, "grower", (), small / "image.ckpt")
    fault.good()
    (fault.session.cwd / "grow").touch()
    fault.process.wait_output(b"grown\n")
    (fault.session.cwd / "grow").unlink()
    for _ in range(3):
        fault.bad(why, re.escape("image.ckpt"))
    free = os.statvfs(small)
    if free.f_bfree * free.f_bsize < 8 << 20:
        raise harness.Failure("what was written is not given back")
    fault.end()


def read_only(setup):
    sealed = harness.mount_tmpfs(setup, "sealed", "64m")
    fault = Fault(setup, image=sealed / "image.ckpt")
    fault.good()
    harness.remount(sealed, True)
    fault.bad("read-only|EROFS")
    harness.remount(sealed, False)
    fault.good()
    fault.end()


def limit(fault, what, soft):
    """Sets a soft limit of the program, as its own user."""
    status, _, err = fault.setup.run(["prlimit", f"--{what}={soft}:", "--pid",
                                      str(fault.process.pid)], fault.session.cwd)
    if status != 0:
        raise harness.Skip(f"prlimit: {err!r}")


def size_limit(setup):
    fault = Fault(setup)
    fault.good()
    limit(fault, "fsize", 1 << 20)
    fault.bad("large|limit|EFBIG")
    fault.bad("large|limit|EFBIG")
    limit(fault, "fsize", "unlimited")
    fault.good()
    fault.end()


def no_place_for_the_line(setup, how):
    """The line cannot be written: a file at its limit (SIGXFSZ), a pipe without reader (SIGPIPE). Both
    signals would end the program, and neither is its own fault."""
    session = harness.Session(setup)
    if how == "file":
        messages = open(session.cwd / "messages", "wb")
        setup.give(session.cwd)
    else:
        reader, writer = os.pipe()
        messages = os.fdopen(writer, "wb")
    process = session.start(session.victim("tick"), "-c", stderr=messages)
    harness.checkpoint_and_continue(process, session.image)
    before = harness.identity(session.image)
    if how == "file":
        soft = "0"
        status, _, err = setup.run(["prlimit", f"--fsize={soft}:", "--pid", str(process.pid)],
                                   session.cwd)
        if status != 0:
            raise harness.Skip(f"prlimit: {err!r}")
    else:
        os.close(reader)
        session.image.unlink()
        session.image.mkdir()       # so that there is something to say
        before = harness.identity(session.image)
    messages.close()
    for _ in range(3):
        process.signal(harness.TRIGGER)
        time.sleep(0.1)
        worked = process.work()
        process.wait_until(lambda: process.work() > worked + 0.02, "it goes on working")
    if harness.identity(session.image) != before:
        raise harness.Failure("an image")
    pending = harness.read_proc(process.pid, "status")
    if not re.search(r"^ShdPnd:\s*0+$", pending, re.M) or not re.search(r"^SigPnd:\s*0+$", pending, re.M):
        raise harness.Failure(f"signals are pending: {pending}")
    session.stop()
    status = process.wait()
    if status != 0 or process.out.all() != b"ready\nok\n":
        raise harness.Failure(f"at the end: status {status}, {process.out.all()!r}")


def two_writers(setup):
    """Programs that have been given one name: one has it, the others have said once what they write
    instead; what lies under each name is always whole."""
    session = harness.Session(setup)
    command = [setup.ckpt, "-c", "-n", "image.ckpt", *session.victim("tick", "8")]
    processes = [session.launch(command) for _ in range(3)]
    for number in range(25):
        before = [harness.identity(path) for path in sorted(session.cwd.glob("image.ckpt*"))]
        for process in processes:
            time.sleep(setup.random.choice((0, 0, 0.002)))
            process.signal(harness.TRIGGER)

        def complete():
            now = [harness.identity(path) for path in sorted(session.cwd.glob("image.ckpt*"))]
            return len(now) == len(processes) and not set(now) & set(before)
        processes[0].wait_until(complete, "an image of each")
        for path in session.cwd.glob("image.ckpt*"):
            status, _, err = setup.run([setup.readckpt, "verify", path], session.cwd)
            if status != 0:
                raise harness.Failure(f"round {number}: {err}")
    said = [process.err.seen().decode() for process in processes]
    if sorted(text.count("\n") for text in said) != [0, 1, 1]:
        raise harness.Failure(f"they say {said}")
    for text in said:
        if text:
            harness.expect_line("another", text, "belongs to another process")
    session.stop()
    for process in processes:
        if process.wait() != 0 or process.out.all() != b"ready\nok\n":
            raise harness.Failure(f"at the end: {process.status}, {process.out.all()!r}")


def unwritable(setup):
    if not setup.drops and os.geteuid() == 0:
        raise harness.Skip("root may write everywhere")
    place = setup.directory("place")
    fault = Fault(setup, image=place / "image.ckpt")
    fault.good()
    os.chmod(place, 0o555)
    fault.bad("permission|EACCES")
    os.chmod(place, 0o755)
    fault.good()
    fault.end()


def vanished(setup):
    place = setup.directory("place")
    fault = Fault(setup, image=place / "image.ckpt")
    fault.good()
    place.rename(setup.scratch / "elsewhere")
    fault.bad("no such|ENOENT", image_there=False)
    (setup.scratch / "elsewhere").rename(place)
    fault.good()
    fault.end()


def name_is_directory(setup):
    place = setup.directory("place")
    name = place / "image.ckpt"
    name.mkdir()
    (name / "precious").write_text("kept")
    setup.give(place)
    fault = Fault(setup, image=name)
    fault.bad("directory|EISDIR", image_there=False)
    if (name / "precious").read_text() != "kept":
        raise harness.Failure("what was in the directory is gone")
    (name / "precious").unlink()
    name.rmdir()
    fault.good()
    fault.end()


def no_descriptor(setup):
    fault = Fault(setup)
    fault.good()
    limit(fault, "nofile", 3)
    # Whether it finds a way or says why it cannot, the program must not notice.
    before, said = harness.identity(fault.image), fault.said()
    fault.process.signal(harness.TRIGGER)
    fault.process.wait_until(lambda: harness.identity(fault.image) != before or
                             fault.said() != said, "an image or a line")
    if harness.identity(fault.image) == before:
        time.sleep(0.1)
        harness.expect_line("no descriptor left", fault.said()[len(said):], "descriptor|files|EMFILE")
    limit(fault, "nofile", 256)
    fault.good()
    fault.end()


def body(setup):
    harness.run_cases(setup, [
        ("file size limit", lambda: size_limit(setup)),
        ("a message to a file at its limit", lambda: no_place_for_the_line(setup, "file")),
        ("a message to a pipe without reader", lambda: no_place_for_the_line(setup, "pipe")),
        ("two programs, one name", lambda: two_writers(setup)),
        ("unwritable directory", lambda: unwritable(setup)),
        ("directory gone", lambda: vanished(setup)),
        ("the name is a directory", lambda: name_is_directory(setup)),
        ("no descriptor left", lambda: no_descriptor(setup)),
        ("disk full", lambda: disk_full(setup)),
        ("quota", lambda: quota(setup)),
        ("read-only file system", lambda: read_only(setup)),
    ])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
