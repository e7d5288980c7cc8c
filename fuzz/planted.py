#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows that the fuzzers find what they are for. Each bug is one place changed in a copy of the source; the
target that is built with it must stop within so many runs from the seeds in fuzz/corpus, with each of three
seeds of the fuzzer's own, so that it is no luck. It is the same each time, however fast the machine is. Before,
the target as it is must not stop.

`--quick` plants one bug for each target that is compiled in a moment, with one seed."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

CORE = "include/ckpt/"
VALIDATOR, RECORD, WIRE = CORE + "image/metadata_view.hpp", CORE + "format/record.hpp", CORE + "wire/le.hpp"
MAPS, STAT, FDINFO, TIMERS = (CORE + name for name in
                              ("maps/parser.hpp", "proc/stat.hpp", "proc/fdinfo.hpp", "proc/timers.hpp"))
CURSOR, VDSO = CORE + "proc/cursor.hpp", "restart/vdso.hpp"
RANGE, TARGET, URL = "server/byte_range.hpp", "server/request_target.hpp", "transfer/url.hpp"
CHUNKS = "server/chunked_body.hpp"

# For each target: file, the place as it is, as it is planted. All of `image` but those of the header lie behind a
# checksum; the first of the others are what --quick plants.
BUGS = {
    "maps": [
        (MAPS, "if (c != ' ' || head_.where.empty()) return", "if (c != ' ') return"),
        (MAPS, "} else if (key_size_ == sizeof key_) {", "} else if (key_size_ > sizeof key_) {"),
        (MAPS, "return !__builtin_mul_overflow(number_, u64{base}, &number_) &&\n           "
         "!__builtin_add_overflow(number_, u64{value}, &number_);",
         "number_ = number_ * base + value;\n    return true;"),
        (MAPS, "if (c != ' ' || number_ > ~u32{0}) return", "if (c != ' ') return"),
        (MAPS, "if (state_ != state::line_start) return fail(errc::end_of_input);", ""),
        (MAPS, "if (letters_size_ <= sizeof letters_) ++", "if (letters_size_ < sizeof letters_) ++"),
        (CORE + "maps/name.hpp", "from += newline.size();", "from += newline.size() - 1;"),
    ],
    "proc": [
        (FDINFO, "|| t.descriptor < 0) return", ") return"),
        (STAT, "text.rfind(')')", "text.find(')')"),
        (FDINFO, "__builtin_mul_overflow(seconds, i64{1'000'000'000}, &ns) ||",
         "(ns = seconds * 1'000'000'000) < 0 ||"),
        (FDINFO, "if (!line.ok()) return line.error();\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))",
         "if (!line.ok()) return {};\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))"),
        (FDINFO, "|| (!lock.to_eof && lock.end < lock.start)) return", ") return"),
        (CURSOR, "u64{digit}, &value) || value > largest) {", "u64{digit}, &value)) {"),
        (CURSOR, "if (at.failed() || !at.at_word_end()) return", "if (at.failed()) return"),
        (TIMERS, "if (at.failed() || !at.at_end()) return", "if (at.failed()) return"),
        (TIMERS, "!has_signal || !has_notify || !has_clock", "!has_signal || !has_clock"),
    ],
    "vdso": [
        (VDSO, "if (f.offset < old_image.size() && old_image.size() - f.offset >= length)",
         "if (f.offset < old_image.size())"),
        (VDSO, "if (at > image_.size() || image_.size() - at < sizeof value) return false;",
         "if (at >= image_.size()) return false;"),
        (VDSO, "if (at >= strings_size_ || strings_ > image_.size() || strings_ + at",
         "if (at >= strings_size_ || strings_ + at"),
        (VDSO, "if (at >= strings_size_ || strings_ >", "if (strings_ >"),
        (VDSO, "(info & 15) != 2 || section == 0", "(info & 15) != 2"),
        (VDSO, "offset != 0 && offset < current.size()", "offset != 0"),
        (VDSO, "if (length > f.size) length = 0;", ""),
    ],
    "request": [
        (RANGE, "if (*begin >= size) return", "if (*begin > size) return"),
        (RANGE, "if (*number < size) end = *number + 1;", "end = *number + 1;"),
        (TARGET, "if (part == \".\" || part == \"..\")", "if (part == \".\")"),
        (TARGET, "if (text.size() - i < 3) return", "if (text.size() - i < 2) return"),
        (TARGET, "if (more == 2 && (code < 0x800 || (code", "if (more == 2 && (code < 0x8 || (code"),
        (TARGET, "if (!number.ok() || *number > (~u64{0} >> 1)) {", "if (!number.ok()) {"),
        (URL, "*number == 0 || *number > 65535", "*number == 0"),
        (CHUNKS, "if (seen_ == 0) return false;", ""),
        (CHUNKS, "at_ = place::data_lf;\n        return c == '\\r';", "at_ = place::data_lf;\n        return true;"),
    ],
    "image": [
        # extents
        (VALIDATOR, "where->begin < end || where->end > (u64{1} << 62)", "where->end > (u64{1} << 62)"),
        (VALIDATOR, "if (e.data != data_ || e.length > h_.data_size - data_)",
         "if (e.length > h_.data_size - data_)"),
        (VALIDATOR, "if (t.count > tail.size() / sizeof(state::extent) ||\n        tail.size()",
         "if (tail.size()"),
        (VALIDATOR, "vvar || s.kind == state::segment_kind::shared", "shared"),
        # segments
        (VALIDATOR, "if (where->begin < segments_end_) return", "if (false) return"),
        (VALIDATOR, "if (where->overlaps({h_", "if (false && where->overlaps({h_"),
        (VALIDATOR, "(s.kind == state::segment_kind::vdso && s.length > vdso_room)", "false"),
        (VALIDATOR, "|| s.object > state::max_objects)", ")"),
        (CORE + "base/range.hpp", "if (__builtin_add_overflow(begin, length, &end)) return errc::overflow;",
         "end = begin + length;"),
        (VALIDATOR, "last.address + last.length <= page_up(o.size)", "last.address <= page_up(o.size)"),
        # traps and the agent
        (VALIDATOR, "if (!readable) return", "if (false) return"),
        (VALIDATOR, "where->contains(h_.agent_entry) || where", "where"),
        (CORE + "image/agent_place.hpp", "if (s.kind >= state::segment_kind::vdso) return;", ""),
        # files
        (VALIDATOR, "d.open_file >= open_files_)", "d.open_file > open_files_)"),
        (VALIDATOR, "if (wanted_contents_ > contents_) return", "if (false) return"),
        (VALIDATOR, "e.count == tail.size() / sizeof(state::epoll_entry) &&",
         "e.count <= tail.size() / sizeof(state::epoll_entry) &&"),
        (VALIDATOR, "|| !whole_messages(view.tail))\n          return why_.refuse(\"a socket",
         ")\n          return why_.refuse(\"a socket"),
        # records
        (RECORD, "if (size > room || head.fixed_size > size) return errc::end_of_input;",
         "if (size > room) return errc::end_of_input;"),
        (RECORD, "if (padded > room) return errc::end_of_input;", ""),
        (RECORD, "if (b != std::byte{0}) return errc::malformed;", "if (b == std::byte{1}) return errc::malformed;"),
        (WIRE, "for (u8 b : field.bytes)\n    if (b != 0) return false;", "(void)field;"),
        (VALIDATOR, "threads_ != threads_said_", "threads_ < threads_said_"),
        (VALIDATOR, "if (view->critical)", "if (false)"),
        # header, trailer, checksums
        (VALIDATOR, "h.block_size < page_size || ", ""),
        (VALIDATOR, "!is_page_aligned(window->begin) || ", ""),
        (VALIDATOR, "if (h.major != format::version_major)", "if (h.major > format::version_major)"),
        (VALIDATOR, "metadata.size() != h.metadata_size || format::checksum(metadata) != h.metadata_checksum",
         "metadata.size() != h.metadata_size"),
        (VALIDATOR, "t.id != h.id || ", ""),
        (VALIDATOR, "if (t.table_checksum != table_checksum)", "if (false)"),
        (CORE + "image/window.hpp", "const range r{at, at + page_up(size)};", "const range r{at, at + size};"),
    ],
}
RUNS = {"maps": 200_000, "proc": 500_000, "vdso": 300_000, "request": 300_000, "image": 100_000}
WITHOUT = {"maps": 20_000, "proc": 20_000, "vdso": 20_000, "request": 20_000, "image": 5_000}
LONGEST = {"image": 131072}
SEEDS = (1, 2, 3)
FLAGS = ["-std=c++20", "-O1", "-g1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
PATIENCE = 1800


class Copy:
    """A copy of the source that one place after the other is changed in."""

    def __init__(self, source, compiler, directory):
        self.source, self.compiler, self.directory = source, compiler, directory
        for name in ("include", "restart", "server", "transfer", "tests/support", "fuzz"):
            shutil.copytree(source / name, directory / name, ignore=shutil.ignore_patterns("corpus"))
        self.parts = {}

    def compile(self, file, *more):
        subprocess.run([self.compiler, *FLAGS, "-I", self.directory / "include", "-I", self.directory / "tests",
                        file, *more], check=True)

    def build(self, target):
        """What stands beside the target, its mutator say, is compiled once and without a bug."""
        main = self.directory / f"fuzz/{target}_fuzz.cpp"
        if target not in self.parts:
            beside = sorted(f for f in main.parent.glob(f"{target}_*.cpp") if f != main)
            for file in beside:
                self.compile(file, "-c", "-o", file.with_suffix(".o"))
            self.parts[target] = [file.with_suffix(".o") for file in beside]
        self.compile(main, *self.parts[target], "-o", self.directory / "program")

    def stops(self, target, runs, seed):
        """How many runs it takes the target to stop, 0 for one that does at once; None when it does not."""
        found = self.directory / "found"
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        command = [self.directory / "program", f"-runs={runs}", f"-seed={seed}", "-use_value_profile=1",
                   "-entropic=0", f"-max_len={LONGEST.get(target, 8192)}", "-timeout=60", f"-artifact_prefix={found}/"]
        words = self.source / f"fuzz/{target}.dict"
        if words.exists():
            command.append(f"-dict={words}")
        done = subprocess.run([*command, found, self.source / "fuzz/corpus" / target], capture_output=True,
                              check=False, timeout=PATIENCE, text=True, errors="replace")
        if done.returncode == 0:
            return None
        counts = [line.split()[0] for line in done.stderr.splitlines() if line.startswith("#")]
        return int(counts[-1][1:]) if counts else 0

    def plant(self, target, bug, seeds):
        """Whether it is found with each seed, and what there is to say."""
        name, good, bad = bug
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        if text.count(good) != 1:
            return False, f"{good!r} is there {text.count(good)} times: plant it elsewhere"
        path.write_text(text.replace(good, bad), encoding="utf-8")
        try:
            self.build(target)
            when = [self.stops(target, RUNS[target], seed) for seed in seeds]
        finally:
            path.write_text(text, encoding="utf-8")
        said = [f"not in {RUNS[target]}" if runs is None else str(runs) for runs in when]
        return None not in when, "after " + ", ".join(said) + " runs"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("source", type=pathlib.Path)
    options.add_argument("compiler")
    options.add_argument("targets", nargs="*", help="all, when there is none")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--only", metavar="TEXT", default="", help="bugs whose place has this in it")
    options.add_argument("--seed", type=int, action="append", help="in place of 1, 2 and 3")
    given = options.parse_intermixed_args()
    seeds = given.seed or SEEDS[:1 if given.quick else None]
    failed = 0

    def tell(good, target, what, since):
        print(f"{'found ' if good else 'FAILED'} {target}: {what} ({time.monotonic() - since:.0f} s)", flush=True)
        return not good

    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(given.source.resolve(), given.compiler, pathlib.Path(directory))
        for target, bugs in BUGS.items():
            if given.targets and target not in given.targets or given.quick and target == "image":
                continue
            if not given.quick:
                since = time.monotonic()
                copy.build(target)
                when = copy.stops(target, WITHOUT[target], seeds[0])
                if when is not None:
                    failed += tell(False, target, f"stops after {when} runs without a bug", since)
                    continue
            for bug in bugs[:1] if given.quick else bugs:
                if given.only not in bug[1]:
                    continue
                since = time.monotonic()
                good, when = copy.plant(target, bug, seeds)
                failed += tell(good, target, f"{bug[0]}: {bug[2] or 'without ' + bug[1]!r}: {when}", since)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
