#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""planted.py SOURCE-DIRECTORY COMPILER SECONDS [TARGET]: shows that the fuzzers find what they are for. Each
bug is one line of a header changed in a copy; the target that is built with it must stop within the
seconds that its quick run has. Without a target, all."""

import pathlib
import subprocess
import sys
import tempfile

# Target, header, the line as it is, as it is planted.
BUGS = [
    ("image", "image/metadata_view.hpp", "where->begin < end || where->end > (u64{1} << 62)",
     "where->end > (u64{1} << 62)"),
    ("image", "image/metadata_view.hpp", "if (e.data != data_ || e.length > h_.data_size - data_)",
     "if (e.data != data_)"),
    ("image", "image/metadata_view.hpp", "if (where->begin < segments_end_) return", "if (false) return"),
    ("image", "image/metadata_view.hpp", "if (where->overlaps({h_", "if (false && where->overlaps({h_"),
    ("image", "image/metadata_view.hpp", "d.open_file >= open_files_)", "d.open_file > open_files_)"),
    ("image", "format/record.hpp", "if (size > room || head.fixed_size > size) return errc::end_of_input;",
     "if (size > room) return errc::end_of_input;"),
    ("image", "image/metadata_view.hpp", "h.block_size < page_size || ", ""),
    ("maps", "maps/parser.hpp", "if (c != ' ' || head_.where.empty()) return", "if (c != ' ') return"),
    ("maps", "maps/parser.hpp", "} else if (key_size_ == sizeof key_) {",
     "} else if (key_size_ > sizeof key_) {"),
    ("proc", "proc/stat.hpp", "text.rfind(')')", "text.find(')')"),
    ("proc", "proc/fdinfo.hpp", "if (!line.ok()) return line.error();\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))",
     "if (!line.ok()) return {};\n    cursor at(*line);\n    if (!at.accept(\"lock:\"))"),
]
FLAGS = ["-std=c++20", "-O1", "-g", "-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"]


def find(source, compiler, seconds, directory, bug):
    target, name, good, bad = bug
    text = (source / "include/ckpt" / name).read_text(encoding="utf-8")
    if text.count(good) != 1:
        return f"{good!r} is {text.count(good)} times in {name}: plant it elsewhere"
    overlay = directory / "include/ckpt" / name
    overlay.parent.mkdir(parents=True)
    overlay.write_text(text.replace(good, bad), encoding="utf-8")
    program = directory / "fuzz"
    subprocess.run([compiler, *FLAGS, "-I", directory / "include", "-I", source / "include",
                    source / "fuzz" / f"{target}_fuzz.cpp", "-o", program], check=True)
    (directory / "found").mkdir()
    done = subprocess.run([program, f"-max_total_time={seconds}", "-use_value_profile=1", "-timeout=10",
                           f"-artifact_prefix={directory}/", directory / "found",
                           source / "fuzz/corpus" / target], capture_output=True, check=False)
    if done.returncode == 0:
        return f"not found in {seconds} s"
    return None


def main(source, compiler, seconds, only=None):
    failed = 0
    for bug in BUGS:
        if only not in (None, bug[0]):
            continue
        with tempfile.TemporaryDirectory() as directory:
            why = find(pathlib.Path(source).resolve(), compiler, seconds, pathlib.Path(directory), bug)
        print(f"{'FAILED' if why else 'found '} {bug[0]}: {bug[1]}: {bug[3]!r}{': ' + why if why else ''}",
              flush=True)
        failed += why is not None
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
