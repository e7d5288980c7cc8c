#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Damaged and forged images, run for real: by an ordinary user under limits, beside a directory that must
not change. Each ends in a refusal, one line and status 125, or in a run that is right, and three readers
agree on it: the one in Python that knows docs/FORMAT.md only, readckpt verify, and the restarter.

Half of the changes leave the checksums as they are; the other half makes them right again, so that the
rules behind them are asked. What all three accept then is another program, written down correctly: what
becomes of it is its own affair (it may wait for what its pipe has no longer), but it changes nothing.

`--full` runs 10,000 of them, otherwise a sample; `--only N` the change with that number once more."""

import argparse
import collections
import os
import pathlib
import random
import re
import resource
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import ckpt_image
import harness
from parts import Parts

DOCUMENT = HERE.parents[1] / "docs/FORMAT.md"
SAMPLE, FULL = 120, 10_000
LIMIT = 60
UNCHECKED = 512     # bytes of the file that say nothing of themselves when the kernel runs it
# Not the image's fault: what this machine does not give.
HERE_ONLY = re.compile(r"cannot map |cannot reserve |too little room|this processor lacks |no room |"
                       r"cannot place |cannot protect |cannot unmap|cannot read the data at|"
                       r"vDSO|cannot load")
EDGES = (0, 1, 2, 7, 8, 4095, 4096, 1 << 12, 1 << 31, (1 << 31) - 1, 1 << 32, 1 << 47, (1 << 47) - 4096,
         1 << 56, 1 << 62, 1 << 63, (1 << 63) - 1, (1 << 64) - 1, (1 << 64) - 4096)


class Changes:
    """Makes mutation number n of an image; the same for the same seed."""

    def __init__(self, form, good, donor, seed):
        self.form, self.good, self.donor, self.seed = form, good, donor, seed
        parts = Parts(form, good)
        self.size = len(good)
        at = parts.header["metadata_offset"]
        self.cuts = []
        for record in parts.records:
            self.cuts.append(at)
            at += 16 + -(-record[3] // 8) * 8
        self.cuts += [at, *(len(good) - n for n in (48, 56, 1, 4096))]
        self.broken = [self.flip, self.cut, self.noise, self.moved, self.longer]
        self.forged = [self.any_field, self.any_field, self.header_field, self.envelope, self.records,
                       self.splice, self.extents, self.extents, self.segment, self.segment]

    def make(self, number):
        """(what was done, the bytes, whether the checksums were made right, the first byte that differs)."""
        chosen = random.Random(f"{self.seed}:{number}")
        if number < len(self.cuts):
            data = self.good[:self.cuts[number]]
            return f"cut at record {number}", data, False
        if number % 2:
            what, data = chosen.choice(self.broken)(chosen)
            return what, data, False
        parts = Parts(self.form, self.good)
        what = chosen.choice(self.forged)(chosen, parts)
        return what, parts.build(), True

    # --- damage --------------------------------------------------------------------------------

    def flip(self, chosen):
        data = bytearray(self.good)
        # Half of them where the structure is: of the data every block is alike.
        end = self.size if chosen.random() < 0.5 else self.cuts[-5] + 4096
        at = chosen.randrange(end)
        data[at] ^= 1 << chosen.randrange(8)
        return f"a bit of byte {at} flipped", bytes(data)

    def cut(self, chosen):
        length = chosen.randrange(UNCHECKED, self.size)
        return f"cut to {length} of {self.size} bytes", self.good[:length]

    def noise(self, chosen):
        at = chosen.randrange(UNCHECKED, self.size - 1)
        n = min(chosen.choice((2, 8, 100, 4096, 131072)), self.size - at)
        new = bytes(n) if chosen.random() < 0.5 else chosen.randbytes(n)
        return f"{n} bytes from {at} on overwritten", self.good[:at] + new + self.good[at + n:]

    def moved(self, chosen):
        at, n = chosen.randrange(UNCHECKED, self.size - 4096), chosen.choice((1, 8, 16, 4096))
        if chosen.random() < 0.5:
            return f"{n} bytes at {at} gone", self.good[:at] + self.good[at + n:]
        return f"{n} bytes at {at} twice", self.good[:at + n] + self.good[at:]

    def longer(self, chosen):
        return "bytes behind the end", self.good + chosen.randbytes(chosen.choice((1, 48, 4096)))

    # --- forgery -------------------------------------------------------------------------------

    def other(self, chosen, value):
        return chosen.choice((value + 1, value - 1, value + 4096, value - 4096, value * 2, -value,
                              value ^ 1 << chosen.randrange(64), chosen.choice(EDGES)))

    def any_field(self, chosen, parts):
        index = chosen.randrange(len(parts.records))
        name = self.form.types.get(parts.records[index][0])
        if name is None:
            return "nothing"
        field = chosen.choice(self.form.structures[name].fields)
        before = parts.get(index, field.name)
        parts.set(index, field.name, self.other(chosen, before))
        return f"{name}[{index}].{field.name} from {before:#x} to {parts.get(index, field.name):#x}"

    def header_field(self, chosen, parts):
        field = chosen.choice([f for f in self.form.structures["file_header"].fields
                               if f.size <= 8 and f.name not in ("signature", "header_checksum")])
        built = Parts(self.form, self.good).header[field.name]
        value = self.other(chosen, built) % (1 << 8 * field.size)
        parts.overrides[field.name] = value
        return f"header.{field.name} from {built:#x} to {value:#x}"

    def envelope(self, chosen, parts):
        record = chosen.choice(parts.records)
        where = chosen.randrange(4)
        bits = (16, 16, 32, 64)[where]
        record[where] = self.other(chosen, record[where]) % (1 << bits)
        return f"{('type', 'flags', 'fixed_size', 'size')[where]} of a record is {record[where]:#x}"

    def records(self, chosen, parts):
        i, j = (chosen.randrange(len(parts.records)) for _ in range(2))
        kind = chosen.choice(("gone", "twice", "swapped", "cut"))
        if kind == "gone":
            del parts.records[i]
        elif kind == "twice":
            parts.records.insert(j, parts.records[i])
        elif kind == "swapped":
            parts.records[i], parts.records[j] = parts.records[j], parts.records[i]
        else:
            record = parts.records[i]
            keep = chosen.randrange(len(record[4]) + 1)
            del record[4][keep:]
            record[3], record[2] = keep, min(record[2], keep)
        return f"record {i} {kind}"

    def splice(self, chosen, parts):
        other = Parts(self.form, self.donor)
        n = chosen.choice((1, 1, 2, 5))
        i, j = chosen.randrange(len(other.records)), chosen.randrange(len(parts.records) + 1)
        parts.records[j:j + chosen.choice((0, n))] = other.records[i:i + n]
        return f"{n} records of another image at {j}"

    def extents(self, chosen, parts):
        index = chosen.choice(parts.of("extents"))
        table = parts.table(index)
        if len(table) < 2:
            parts.set(index, "count", chosen.choice(EDGES))
            return f"count of table {index}"
        i, j = sorted(chosen.sample(range(len(table)), 2))
        kind = chosen.choice(("swapped", "addresses swapped", "data swapped", "overlap", "wraps", "count",
                              "data", "gone", "twice", "over the restarter", "in two segments"))
        count = None
        if kind == "swapped":
            table[i], table[j] = table[j], table[i]
        elif kind == "addresses swapped":
            table[i][0], table[j][0] = table[j][0], table[i][0]
        elif kind == "data swapped":
            table[i][2], table[j][2] = table[j][2], table[i][2]
        elif kind == "overlap":
            table[j][0] = table[i][0]
        elif kind == "wraps":
            table[j][1] = -table[j][0] + chosen.choice((0, 4096))
        elif kind == "count":
            count = chosen.choice((len(table) - 1, len(table) + 1, 1 << 63, (1 << 64) - 1, (1 << 61) + 1))
        elif kind == "data":
            table[j][2] += chosen.choice((-4096, 4096, 1, 1 << 63))
        elif kind == "gone":
            del table[i]
        elif kind == "twice":
            table.insert(j, list(table[i]))
        elif kind == "over the restarter":
            table[i][0] = parts.header["window_address"]
        else:
            table[i][1] += 1 << 30
        parts.set_table(index, table, count)
        return f"extents {i} and {j}: {kind}"

    def segment(self, chosen, parts):
        index = chosen.choice(parts.of("segment"))
        kind = chosen.choice(("over the restarter", "over the restarter", "over the vDSO or the stack",
                              "wraps", "overlaps", "everything", "first page", "odd", "above"))
        address, length = parts.get(index, "address"), parts.get(index, "length")
        window = parts.header["window_address"]
        if kind == "over the restarter":
            address = window + chosen.choice((0, 4096, -4096, parts.header["window_size"] - 4096))
        elif kind == "over the vDSO or the stack":
            # Wherever the kernel puts them; the last segments are the largest addresses.
            address = chosen.randrange(0x7ff000000000 >> 12, 0x7ffffffff000 >> 12) << 12
            length = chosen.choice((4096, 1 << 24, 0x7ffffffff000 - address))
        elif kind == "wraps":
            length = -address + chosen.choice((0, 4096, -4096))
        elif kind == "overlaps":
            address -= 4096
        elif kind == "everything":
            address, length = 4096, (1 << 47) - 8192
        elif kind == "first page":
            address = 0
        elif kind == "odd":
            address += chosen.choice((1, 8, 2048))
        else:
            address = chosen.choice((1 << 47, (1 << 47) - 4096, 1 << 55, (1 << 56) - 4096))
        if kind in ("over the restarter", "over the vDSO or the stack", "above") and chosen.random() < 0.7:
            # One more, in its place, so that no other rule is broken.
            anonymous = next(i for i in parts.of("segment") if parts.get(i, "kind") == 1)
            new = [*parts.records[anonymous][:4], bytearray(parts.records[anonymous][4])]
            index = next((i for i in parts.of("segment") if parts.get(i, "address") > address),
                         parts.of("segment")[-1] + 1)
            parts.records.insert(index, new)
            length = chosen.choice((4096, length))
        parts.set(index, "address", address)
        parts.set(index, "length", length)
        return f"segment {index} {kind}"


class Bench:
    """Runs one image after the other."""

    def __init__(self, setup, form):
        self.setup, self.form = setup, form
        self.cwd = setup.directory("bench")
        self.guard = setup.directory("guard")
        for name in ("a", "b", "c"):
            (self.guard / name).write_bytes(name.encode() * 1000)
        setup.give(self.guard)
        self.path = self.cwd / "bad.ckpt"
        self.before = self.look()
        self.seen = collections.Counter()

    def look(self):
        found = []
        for directory in (self.guard, self.cwd):
            for entry in sorted(os.scandir(directory), key=lambda e: e.name):
                st = entry.stat(follow_symlinks=False)
                if entry.path != str(self.path):
                    found.append((entry.name, st.st_ino, st.st_size, st.st_mtime_ns, st.st_mode))
        return found

    def write(self, data):
        self.path.unlink(missing_ok=True)
        self.path.write_bytes(data)
        os.chmod(self.path, 0o700)
        self.setup.give(self.path)

    def run(self, words, stdin=subprocess.DEVNULL, data=None, may_wait=False):
        """(status, stdout, stderr), or the kernel's own refusal. May it wait, then a program that is there
        again and waits for something is no hang, and has no status."""
        def limits():
            for what, value in ((resource.RLIMIT_CPU, 20), (resource.RLIMIT_FSIZE, 1 << 20),
                                (resource.RLIMIT_AS, 1 << 36), (resource.RLIMIT_CORE, 0)):
                resource.setrlimit(what, (value, value))
        who = dict(user=harness.USER_ID, group=harness.USER_ID, extra_groups=[]) if self.setup.drops else {}
        try:
            process = subprocess.Popen(words, cwd=self.guard, preexec_fn=limits, stdin=stdin,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                       env=self.setup.environment(), **who)
        except OSError as error:
            return None, "", error.strerror
        for seconds in (3, LIMIT):
            try:
                # What it has not been sent at the first time-out it is sent at the second.
                out, err = process.communicate(data if seconds == 3 else None, timeout=seconds)
                break
            except subprocess.TimeoutExpired:
                there = harness.read_proc(process.pid, "cmdline") + \
                    harness.read_proc(harness.program_behind(process.pid), "cmdline")
                waits = may_wait and "/golden\0" in there
                if seconds == LIMIT or waits:
                    report = harness.describe(process.pid)
                    harness.kill_quietly(harness.program_behind(process.pid))
                    process.kill()
                    process.communicate()
                    if waits:
                        return None, "", "waits"
                    raise harness.Failure(f"hangs\n{report}") from None
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def judge(self, number, what, data, forged, good):
        """Compares the three; a Failure says where they part."""
        try:
            ckpt_image.Image(self.form, data).whole()
            wanted, reason = True, ""
        except ckpt_image.Refused as why:
            wanted, reason = False, str(why)
        self.write(data)
        status, out, err = self.run([self.setup.readckpt, "verify", self.path])
        if status not in (0, 1) or (status == 0) != wanted:
            raise harness.Failure(f"the reader in Python {'accepts' if wanted else 'refuses: ' + reason}; "
                                  f"readckpt verify: {status} {out!r} {err!r}")
        if status == 1 and (len(err.splitlines()) != 1 or not err.startswith("readckpt: ")):
            raise harness.Failure(f"readckpt: {err!r}")
        chosen = random.Random(number)
        identity = () if chosen.random() < 0.1 else ("--identity=new",)
        ways = [("direct", [self.path, *identity], None),
                ("restart", [self.setup.restart, *identity, self.path], None),
                ("pipe", [self.setup.restart, *identity, "-"], data)]
        how, words, sent = ways[number % 3]
        if sent is None:
            status, out, err = self.run(words, may_wait=forged and wanted)
        else:
            status, out, err = self.run(words, subprocess.PIPE, sent, forged and wanted)
        if self.look() != self.before or (sent is None and self.path.read_bytes() != data):
            raise harness.Failure(f"{how}: a file has changed")
        refused = status == harness.REFUSED and not out and \
            re.fullmatch(r"ckpt: \S[^\n]*\n", err) is not None
        right = (status, out, err) == (0, "ok\n", "")
        if data[:UNCHECKED] != good[:UNCHECKED] and how == "direct":
            self.seen["ended: the first 512 bytes, run directly"] += 1
        elif not wanted:
            if not refused:
                raise harness.Failure(f"should be refused ({reason}), {how}: {status} {out!r} {err!r}")
            self.seen["refused by all three"] += 1
        elif refused and HERE_ONLY.search(err):
            self.seen["refused here, for what this machine does not give"] += 1
        elif right:
            self.seen["runs, and is right"] += 1
        elif forged:
            self.seen["accepted by all three: another program"] += 1
        else:
            raise harness.Failure(f"{how}: {status} {out!r} {err!r}")


def fresh(setup, words):
    """An image by today's ckpt."""
    session = harness.Session(setup, "fresh" + "".join(words))
    program = setup.victim("golden", session.cwd)
    read, write = os.pipe()
    process = session.start([program, *words], stdin=read)
    os.close(read)
    process.wait_until(lambda: harness.read_proc(process.program(), "syscall").startswith("0 "), "its read")
    session.checkpoint()
    os.close(write)
    return session.image.read_bytes()


def body(setup):
    options = setup.options
    if os.geteuid() == 0 and not setup.drops:
        raise harness.Skip("a forged image may name any file: not as root")
    form = ckpt_image.Format(DOCUMENT.read_text(encoding="utf-8"))
    good, donor = fresh(setup, ["more"]), fresh(setup, [])
    if Parts(form, good).build() != good:
        raise harness.Failure("an image taken apart is not the same when put together")
    changes, bench = Changes(form, good, donor, setup.seed), Bench(setup, form)
    for how in range(3):
        bench.judge(how, "nothing", good, False, good)
    if bench.seen != {"runs, and is right": 3}:
        raise harness.Failure(f"the good image: {dict(bench.seen)}")
    bench.seen.clear()
    count = FULL if options.full else SAMPLE
    # The sample has some of the cuts and some of everything else.
    numbers = range(count) if options.full else sorted(
        setup.random.sample(range(len(changes.cuts)), 10) +
        setup.random.sample(range(len(changes.cuts), FULL), count - 10))
    failed = 0
    for number in ([options.only] if options.only is not None else numbers):
        what, data, forged = changes.make(number)
        try:
            bench.judge(number, what, data, forged, good)
        except harness.Failure as failure:
            failed += 1
            print(f"FAILED  change {number} (--seed {setup.seed} --only {number}), {what}: {failure}")
            if failed == 20:
                break
        if options.full and number % 1000 == 999:
            print(f"{number + 1} changes, {failed} failures", flush=True)
    setup.check_nothing_left()
    for outcome, times in bench.seen.most_common():
        print(f"{times:6} {outcome}")
    if failed:
        raise harness.Failure(f"{failed} changes")


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--full", action="store_true", help="10,000 changes")
    made.add_argument("--only", type=int, metavar="N", help="one change")
    sys.exit(harness.main(made, body))
