#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows that the fuzzers find what they are for. Each bug is one line changed in a copy of the source; the
target that is built with it must stop within so many runs from the seeds in fuzz/corpus, by a fixed seed of
the fuzzer's: the same each time, however fast the machine is. Before, the target as it is must not stop.

`--quick` plants one bug for each target that is compiled in a moment."""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

VALIDATOR, AGENT = "include/ckpt/image/metadata_view.hpp", "include/ckpt/image/agent_place.hpp"
MAPS, FDINFO = "include/ckpt/maps/parser.hpp", "include/ckpt/proc/fdinfo.hpp"
# For each target: file, the line as it is, as it is planted. All of `image` but the two of the header lie
# behind a checksum; the first of the others are what --quick plants.
BUGS = {
    "maps": [
        (MAPS, "if (c != ' ' || head_.where.empty()) return", "if (c != ' ') return"),
        (MAPS, "} else if (key_size_ == sizeof key_) {", "} else if (key_size_ > sizeof key_) {"),
    ],
    "proc": [
        ("include/ckpt/proc/stat.hpp", "text.rfind(')')", "text.find(')')"),
        (FDINFO, "|| t.descriptor < 0) return", ") return"),
        (FDINFO, "__builtin_mul_overflow(seconds, i64{1'000'000'000}, &ns) ||",
         "(ns = seconds * 1'000'000'000) < 0 ||"),
        (FDINFO, "if (!line.ok()) return line.error();\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))",
         "if (!line.ok()) return {};\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))"),
    ],
    "vdso": [
        ("restart/vdso.hpp", "if (f.offset < old_image.size() && old_image.size() - f.offset >= length)",
         "if (f.offset < old_image.size())"),
        ("restart/vdso.hpp", "if (at > image_.size() || image_.size() - at < sizeof value) return false;",
         "if (at >= image_.size()) return false;"),
        ("restart/vdso.hpp", "if (at >= strings_size_ || strings_ > image_.size() || strings_ + at",
         "if (at >= strings_size_ || strings_ + at"),
    ],
    "request": [
        ("server/byte_range.hpp", "if (*begin >= size) return", "if (*begin > size) return"),
        ("server/request_target.hpp", "if (part == \".\" || part == \"..\")", "if (part == \".\")"),
        ("server/request_target.hpp", "if (text.size() - i < 3) return", "if (text.size() - i < 2) return"),
    ],
    "image": [
        (VALIDATOR, "where->begin < end || where->end > (u64{1} << 62)", "where->end > (u64{1} << 62)"),
        (VALIDATOR, "if (e.data != data_ || e.length > h_.data_size - data_)",
         "if (e.length > h_.data_size - data_)"),
        (VALIDATOR, "if (t.count > tail.size() / sizeof(state::extent) ||\n        tail.size()",
         "if (tail.size()"),
        (VALIDATOR, "if (where->begin < segments_end_) return", "if (false) return"),
        (VALIDATOR, "if (where->overlaps({h_", "if (false && where->overlaps({h_"),
        (VALIDATOR, "(s.kind == state::segment_kind::vdso && s.length > vdso_room)", "false"),
        (VALIDATOR, "if (!readable) return", "if (false) return"),
        (VALIDATOR, "d.open_file >= open_files_)", "d.open_file > open_files_)"),
        (AGENT, "if (s.kind >= state::segment_kind::vdso) return;", ""),
        (VALIDATOR, "where->contains(h_.agent_entry) || where", "where"),
        ("include/ckpt/format/record.hpp", "if (size > room || head.fixed_size > size) return errc::end_of_input;",
         "if (size > room) return errc::end_of_input;"),
        (VALIDATOR, "h.block_size < page_size || ", ""),
        (VALIDATOR, "!is_page_aligned(window->begin) || ", ""),
    ],
}
RUNS = {"maps": 2_000_000, "proc": 2_000_000, "vdso": 500_000, "request": 2_000_000, "image": 200_000}
WITHOUT = {"maps": 20_000, "proc": 20_000, "vdso": 20_000, "request": 20_000, "image": 5_000}
FLAGS = ["-std=c++20", "-O1", "-g1", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]
PATIENCE = 1800


class Copy:
    """A copy of the source that one line after the other is changed in."""

    def __init__(self, source, compiler, directory, seed):
        self.source, self.compiler, self.directory, self.seed = source, compiler, directory, seed
        for name in ("include", "restart", "server", "transfer", "tests/support", "fuzz"):
            shutil.copytree(source / name, directory / name, ignore=shutil.ignore_patterns("corpus"))
        self.mutators = {}

    def compile(self, file, *more):
        subprocess.run([self.compiler, *FLAGS, "-I", self.directory / "include", self.directory / "fuzz" / file,
                        *more], check=True)

    def stops(self, target, runs):
        """How many runs it took the target to stop; None when it has not."""
        if target not in self.mutators:
            self.mutators[target] = []
            if (self.directory / f"fuzz/{target}_mutator.cpp").exists():
                made = self.directory / f"{target}_mutator.o"
                self.compile(f"{target}_mutator.cpp", "-c", "-o", made)
                self.mutators[target] = [made]
        program, found = self.directory / "program", self.directory / "found"
        self.compile(f"{target}_fuzz.cpp", *self.mutators[target], "-o", program)
        shutil.rmtree(found, ignore_errors=True)
        found.mkdir()
        words = self.source / f"fuzz/{target}.dict"
        done = subprocess.run([program, *([f"-dict={words}"] if words.exists() else []), f"-runs={runs}", f"-seed={self.seed}", "-use_value_profile=1",
                               "-max_len=131072" if target == "image" else "-max_len=8192",
                               "-timeout=60", f"-artifact_prefix={found}/", found,
                               self.source / "fuzz/corpus" / target], capture_output=True, check=False,
                              timeout=PATIENCE, text=True, errors="replace")
        if done.returncode == 0:
            return None
        counts = [line.split()[0] for line in done.stderr.splitlines() if line.startswith("#")]
        return f"after {counts[-1][1:]} runs" if counts else "at once"

    def plant(self, target, bug):
        name, good, bad = bug
        path = self.directory / name
        text = path.read_text(encoding="utf-8")
        if text.count(good) != 1:
            return False, f"{good!r} is there {text.count(good)} times: plant it elsewhere"
        path.write_text(text.replace(good, bad), encoding="utf-8")
        try:
            when = self.stops(target, RUNS[target])
        finally:
            path.write_text(text, encoding="utf-8")
        return when is not None, when or f"not found in {RUNS[target]} runs"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("source", type=pathlib.Path)
    options.add_argument("compiler")
    options.add_argument("targets", nargs="*", help="all, when there is none")
    options.add_argument("--quick", action="store_true")
    options.add_argument("--seed", type=int, default=1)
    given = options.parse_intermixed_args()
    failed = 0

    def tell(good, target, what, since):
        print(f"{'found ' if good else 'FAILED'} {target}: {what} ({time.monotonic() - since:.0f} s)", flush=True)
        return not good

    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(given.source.resolve(), given.compiler, pathlib.Path(directory), given.seed)
        for target, bugs in BUGS.items():
            if given.targets and target not in given.targets or given.quick and target == "image":
                continue
            if not given.quick:
                since = time.monotonic()
                when = copy.stops(target, WITHOUT[target])
                if when is not None:
                    failed += tell(False, target, f"stops {when} without a bug", since)
                    continue
            for bug in bugs[:1] if given.quick else bugs:
                since = time.monotonic()
                good, when = copy.plant(target, bug)
                failed += tell(good, target, f"{bug[0]}: {bug[2] or 'without ' + bug[1]!r}: {when}", since)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
