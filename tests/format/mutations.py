#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Damaged and forged images, run for real: by an ordinary user under limits, beside a directory that must
not change. Each ends in a refusal, one line and status 125, or in a run that is right, and three readers
agree on it: the one in Python that knows docs/FORMAT.md only, readckpt verify, and the restarter.

Half of the changes leave the checksums as they are; the other half makes them right again, so that the
rules behind them are asked. What all three accept then is another program, written down correctly: what
becomes of it is its own affair (it may wait for what its pipe has no longer), but it changes nothing, the
restarter does not refuse it by a rule, and when a signal ends it, it was not the restarter's code that ran
into it: such an image is run once more under crash_site, which sees where that was.

Half of the images are of a program whose addresses the kernel has not drawn by lot: there the restarter has
its vDSO and stack where the program had them, and a segment can be laid over them exactly.

`--full` runs 10,000 of them, otherwise a sample; `--only N` the change with that number once more."""

import argparse
import collections
import contextlib
import os
import pathlib
import random
import re
import resource
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import ckpt_image
import harness
from parts import Parts

DOCUMENT = HERE.parents[1] / "docs/FORMAT.md"
RULES = [HERE.parents[1] / "include/ckpt/image" / name for name in ("metadata_view.hpp", "agent_place.hpp")]
SAMPLE, FULL = 120, 10_000
LIMIT = 60
PROCESSOR = 20      # seconds of a processor's time
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
                       self.splice, self.extents, self.extents, self.segment, self.segment, self.kernels,
                       self.trap, self.agent, self.invented, self.last_record]

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


    def kernels(self, chosen, parts):
        """What the restarter itself has at those addresses, vDSO or stack, the program has there, too."""
        memory, stack = chosen.choice(((5, 6), (5,), (6,), (4,))), 4
        segments = parts.of("segment")
        found = [i for i in segments if parts.get(i, "kind") in memory]
        kind = chosen.choice((1, 1, 2, 3, 4, 5, 6))
        size = chosen.choice((None, None, 4096, 1 << 17, (1 << 17) + 4096, 1 << 18, 1 << 30, 1 << 40))
        for i in found:
            parts.set(i, "kind", kind)
            parts.set(i, "protection", chosen.choice((0, 1, 3, 5, 7)))
        if found and size is not None:
            parts.set(found[-1], "length", size)
        if found and memory == (stack,) and chosen.random() < 0.7:
            before = segments[segments.index(found[-1]) - 1]
            end = parts.get(before, "address") + parts.get(before, "length")
            begin = chosen.choice((end, end + 4096, parts.get(found[-1], "address")))
            parts.set(found[-1], "address", begin)
            parts.set(found[-1], "length", 0x7ffffffff000 - begin)
        return f"segments of kind {memory} are of kind {kind}, the last has {size or 'its own'} bytes"

    def trap(self, chosen, parts):
        index = chosen.choice(parts.of("segment"))
        pages = max(1, parts.get(index, "length") >> 12)
        address = parts.get(index, "address") + (chosen.randrange(pages) << 12)
        kind, length = chosen.choice((1, 2, 2)), chosen.choice((1, 1, pages, 512)) << 12
        parts.records.append(self.record("trap_range", address=address, length=length, kind=kind))
        return f"pages from {address:#x} on cannot be touched ({kind})"

    def agent(self, chosen, parts):
        index = chosen.choice(parts.of("segment"))
        name = chosen.choice(("agent_entry", "agent_stack", "agent_stack"))
        at = parts.get(index, "address") + chosen.choice((0, 8, 16, 24, 4096, parts.get(index, "length"),
                                                          parts.get(index, "length") + 16))
        if chosen.random() < 0.5:
            parts.set(index, "protection", 7)
        parts.overrides[name] = at
        return f"{name} is {at:#x}"

    def invented(self, chosen, parts):
        """A record of a kind that the image may not have, its numbers such as others have."""
        name = chosen.choice(sorted(self.form.types.values()))
        known = [parts.get(i, f.name) for i in range(len(parts.records))
                 for f in self.form.structures[self.form.types[parts.records[i][0]]].fields if f.size == 8]
        made = self.record(name)
        for f in self.form.structures[name].fields:
            if f.size > 8 or f.name.startswith("reserved"):
                continue
            value = chosen.choice((0, 1, chosen.randrange(10), chosen.choice(known), chosen.choice(EDGES)))
            made[4][f.offset:f.offset + f.size] = (value % (1 << 8 * f.size)).to_bytes(f.size, "little")
        made[4] += chosen.randbytes(chosen.choice((0, 0, 1, 8, 24, 100)))
        made[3] = len(made[4])
        parts.records.insert(chosen.randrange(len(parts.records) + 1), made)
        return f"a record {name} more"

    def last_record(self, chosen, parts):
        """Cut, and made right."""
        keep = chosen.randrange(len(parts.records))
        del parts.records[keep:]
        return f"the records end with the {keep}th"

    def record(self, name, **fields):
        type_ = next(t for t, other in self.form.types.items() if other == name)
        structure = self.form.structures[name]
        body = bytearray(structure.size)
        for f in structure.fields:
            if f.name in fields:
                body[f.offset:f.offset + f.size] = (fields[f.name] % (1 << 64)).to_bytes(f.size, "little")
        return [type_, 1, structure.size, structure.size, body]


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
        self.tracer = setup.victim("crash_site", self.cwd)
        self.report = self.cwd / "report"
        self.report.touch()
        setup.give(self.report)
        self.rules = {text for path in RULES
                      for text in re.findall(r'refuse\(\s*"([^"]{16,})"', path.read_text(encoding="utf-8"))}
        self.before = self.look()
        self.seen = collections.Counter()
        self.lines = collections.Counter()
        self.used = 0.0

    def look(self):
        found = []
        for directory in (self.guard, self.cwd):
            for entry in sorted(os.scandir(directory), key=lambda e: e.name):
                st = entry.stat(follow_symlinks=False)
                if entry.path not in (str(self.path), str(self.report)):
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
            for what, value in ((resource.RLIMIT_CPU, PROCESSOR), (resource.RLIMIT_FSIZE, 1 << 20),
                                (resource.RLIMIT_AS, 1 << 36), (resource.RLIMIT_CORE, 0)):
                resource.setrlimit(what, (value, value))
        who = dict(user=harness.USER_ID, group=harness.USER_ID, extra_groups=[]) if self.setup.drops else {}
        before = self.processor_time()
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
        self.used = self.processor_time() - before
        return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")

    def check_the_end(self, how, words, sent, status, err, header):
        """Of a program that all readers accept and whose end is not the right one: it is not the restarter's."""
        line = err.partition(" ")[2].partition(": ")[2].strip()
        if status == harness.REFUSED:
            self.lines[re.sub(r"0x[0-9a-f]+|[0-9a-f]{6,}|[0-9]+", "N", line)] += 1
            if any(rule in line for rule in self.rules):
                raise harness.Failure(f"{how}: readckpt and the reader in Python accept it: {line}")
        if status is None or status >= 0:
            return
        if self.used > PROCESSOR / 2:   # a limit of the program's own may be lower
            raise harness.Failure(f"{how}: works for {self.used:.0f} s, and is killed")
        words = [self.tracer, self.report, *words]
        self.run(words, *((subprocess.PIPE, sent) if sent is not None else ()), may_wait=True)
        window = range(header["window_address"], header["window_address"] + header["window_size"])
        for crash in self.report.read_text(encoding="utf-8").splitlines():
            number, at, name = crash.split(" ", 2)
            if int(at, 16) in window or name.endswith(("/bad.ckpt", "/ckpt-restart")):
                raise harness.Failure(f"{how}: the restarter crashes: signal {number} at {at} in {name}")

    @staticmethod
    def processor_time():
        """Of all processes that have ended here."""
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def judge(self, number, what, data, forged, good):
        """Compares the three; a Failure says where they part."""
        try:
            header = vars(ckpt_image.Image(self.form, data).whole().header)
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
        elif right:
            self.seen["runs, and is right"] += 1
        elif forged or (refused and HERE_ONLY.search(err)):
            self.check_the_end(how, words, sent, status, err, header)
            if refused:
                self.seen["accepted by all three, and not to be had: " +
                          ("on this machine" if HERE_ONLY.search(err) else "as its agent says")] += 1
            else:
                self.seen["accepted by all three: another program, " +
                          ("which waits" if status is None else
                           f"ended by {signal.Signals(-status).name}" if status < 0 else
                           f"status {status}")] += 1
        else:
            raise harness.Failure(f"{how}: {status} {out!r} {err!r}")


@contextlib.contextmanager
def no_lots():
    """What is started has the addresses that it always has."""
    addr_no_randomize, query = 0x40000, 0xffffffff
    before = harness.LIBC.personality(query)
    harness.LIBC.personality(before | addr_no_randomize)
    try:
        yield
    finally:
        harness.LIBC.personality(before)


def fresh(setup, words, name="fresh"):
    """An image by today's ckpt."""
    session = harness.Session(setup, name + "".join(words))
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
    with no_lots():
        unmoved = fresh(setup, ["more"], "unmoved")
    bench = Bench(setup, form)
    for image in (good, unmoved):
        if Parts(form, image).build() != image:
            raise harness.Failure("an image taken apart is not the same when put together")
        for how in range(3):
            bench.judge(how, "nothing", image, False, image)
    if bench.seen != {"runs, and is right": 6}:
        raise harness.Failure(f"the good images: {dict(bench.seen)}")
    bench.seen.clear()
    changes, others = (Changes(form, image, donor, setup.seed) for image in (good, unmoved))
    count = FULL if options.full else SAMPLE
    # The sample has some of the cuts and some of everything else.
    numbers = range(count) if options.full else sorted(
        setup.random.sample(range(len(changes.cuts)), 10) +
        setup.random.sample(range(len(changes.cuts), FULL), count - 10))
    failed = 0
    for number in ([options.only] if options.only is not None else numbers):
        of = others if number >= len(changes.cuts) + len(others.cuts) and number // 2 % 2 else changes
        what, data, forged = of.make(number)
        try:
            bench.judge(number, what, data, forged, of.good)
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
    if options.full or options.only is not None:
        for line, times in bench.lines.most_common():
            print(f"{times:6} refused behind all rules: {line}")
    if failed:
        raise harness.Failure(f"{failed} changes")


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.formatter_class = argparse.RawDescriptionHelpFormatter
    made.add_argument("--full", action="store_true", help="10,000 changes")
    made.add_argument("--only", type=int, metavar="N", help="one change")
    sys.exit(harness.main(made, body))
