#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""include/ckpt.h in every dialect of C and C++ that the compilers here know, without a warning, with
CKPT_REQUIRED and without; and a program that uses it without the library runs, and nothing happens."""

import pathlib
import shutil
import subprocess
import sys
import tempfile

STRICT = ["-Wall", "-Wextra", "-pedantic", "-Werror"]
C = ["c89", "c99", "c11", "c17", "c2x", "gnu89", "gnu17"]
CXX = ["c++98", "c++11", "c++17", "c++20", "c++2b", "gnu++17"]
COMPILERS = [("gcc", C), ("clang", C), ("musl-gcc", C), ("g++", CXX), ("clang++", CXX)]
# How they compile, and how they link.
LINKS = [(["-O0"], []), (["-O2"], []), ([], ["-static"]), (["-fno-pie"], ["-no-pie"]),
         (["-fPIE"], ["-pie"])]


def run(failures, *words):
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr:
        failures.append(f"{' '.join(map(str, words))}: status {done.returncode}\n{done.stderr}")


def main(include):
    source = pathlib.Path(__file__).parent / "uses_all.c"
    failures, compiled, ran = [], 0, 0
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        for compiler, dialects in COMPILERS:
            if not shutil.which(compiler):
                print(f"{compiler} is not here")
                continue
            language = ["-x", "c++" if dialects is CXX else "c"]
            for dialect in dialects:
                for more in ([], ["-DCKPT_REQUIRED"], ["-O2"]):
                    run(failures, compiler, *language, f"-std={dialect}", *STRICT, *more, "-I", include,
                        "-c", source, "-o", here / "object.o")
                    compiled += 1
            for flags, linking in LINKS:
                objects = []
                for number, more in enumerate(([], ["-DOTHER"])):
                    objects.append(here / f"{number}.o")
                    run(failures, compiler, *language, *flags, *more, "-I", include, "-c", source, "-o", objects[-1])
                run(failures, compiler, *linking, *objects, "-o", here / "program")
                run(failures, here / "program")
                ran += 1
        if shutil.which("gcc"):
            # What both files have inline, in one piece of code.
            run(failures, "gcc", "-O2", "-flto=1", "-I", include, source, "-c", "-o", here / "0.o")
            run(failures, "gcc", "-O2", "-flto=1", "-DOTHER", "-I", include, source, "-c", "-o", here / "1.o")
            run(failures, "gcc", "-O2", "-flto=1", here / "0.o", here / "1.o", "-o", here / "program")
            run(failures, here / "program")
            # The library is wanted, and is not there.
            run(wanted := [], "gcc", "-DCKPT_REQUIRED", "-I", include, source, "-DOTHER", "-shared",
                "-Wl,--no-undefined", "-fPIC", "-o", here / "program")
            if not wanted or "ckpt_present" not in wanted[0]:
                failures.append(f"CKPT_REQUIRED does not tell of a missing library: {wanted}")
    for failure in failures:
        print(failure)
    print(f"{compiled} compilations, {ran} programs")
    return 1 if failures or not ran else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
