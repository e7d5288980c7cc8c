#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Shows what the fuzzers reach: builds each target with coverage, runs it over its seeds and over what long runs
have learnt (build/fuzz/learnt), and prints how many lines and branches of the files it is for were taken.
`--lines` lists the lines that never were. Run in the source; what it makes is in build/fuzz-coverage."""

import argparse
import json
import pathlib
import subprocess

SOURCE = pathlib.Path(__file__).resolve().parent.parent
CORE = "include/ckpt/"
FILES = {
    "maps": [CORE + "maps/parser.hpp", CORE + "maps/name.hpp"],
    "proc": [CORE + f"proc/{name}.hpp" for name in ("cursor", "stat", "status", "fdinfo", "timers")],
    "image": [CORE + name for name in ("image/metadata_view.hpp", "image/agent_place.hpp", "image/window.hpp",
                                       "format/header.hpp", "format/record.hpp", "format/walk.hpp")],
    "vdso": ["restart/vdso.hpp"],
    "request": ["server/byte_range.hpp", "server/chunked_body.hpp", "server/request_target.hpp", "server/tokens.hpp",
                "transfer/url.hpp"],
}
FLAGS = ["-std=c++20", "-O1", "-g1", "-fsanitize=fuzzer", "-fprofile-instr-generate", "-fcoverage-mapping"]


def tool(compiler, name):
    """The one that belongs to the compiler: their formats change."""
    return subprocess.run([compiler, f"-print-prog-name={name}"], capture_output=True, check=True,
                          text=True).stdout.strip()


def measured(compiler, target, directory, with_learnt):
    """The program and its profile."""
    program, raw, profile = (directory / f"{target}{end}" for end in ("", ".profraw", ".profdata"))
    parts = sorted((SOURCE / "fuzz").glob(f"{target}_*.cpp"))
    include = ["-I", SOURCE / "include", "-I", SOURCE / "tests"]
    subprocess.run([compiler, *FLAGS, *include, *parts, "-o", program], check=True)
    seeds = [SOURCE / f"fuzz/corpus/{target}{kind}" for kind in ("", "_refused", "_learnt")]
    if with_learnt:
        seeds.append(SOURCE / "build/fuzz/learnt" / target)
    # With -runs=0 it runs what is there, each once, and makes nothing.
    subprocess.run([program, "-runs=0", "-max_len=131072", *(d for d in seeds if d.exists())], check=True,
                   capture_output=True, env={"LLVM_PROFILE_FILE": str(raw)})
    subprocess.run([tool(compiler, "llvm-profdata"), "merge", "-sparse", raw, "-o", profile], check=True)
    return program, profile


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("targets", nargs="*", choices=[*FILES, []], metavar="TARGET", help="all, when there is none")
    options.add_argument("--compiler", default="clang++")
    options.add_argument("--lines", action="store_true", help="list the lines that were never reached")
    options.add_argument("--seeds-only", action="store_true", help="without what long runs have learnt")
    given = options.parse_args()
    directory = SOURCE / "build/fuzz-coverage"
    directory.mkdir(parents=True, exist_ok=True)
    print("| target | file | lines | branches |\n|---|---|---|---|")
    for target in given.targets or FILES:
        program, profile = measured(given.compiler, target, directory, not given.seeds_only)
        cov = tool(given.compiler, "llvm-cov")
        files = [SOURCE / name for name in FILES[target]]
        told = subprocess.run([cov, "export", "-summary-only", program, f"-instr-profile={profile}", *files],
                              capture_output=True, check=True, text=True).stdout
        for file in json.loads(told)["data"][0]["files"]:
            name = pathlib.Path(file["filename"]).relative_to(SOURCE)
            lines, branches = (file["summary"][kind] for kind in ("lines", "branches"))
            print(f"| `{target}` | {name} | {lines['covered']} of {lines['count']} "
                  f"| {branches['covered']} of {branches['count']} |", flush=True)
        if not given.lines:
            continue
        shown = subprocess.run([cov, "show", program, f"-instr-profile={profile}", "-show-instantiations=false",
                                *files], capture_output=True, check=True, text=True).stdout
        for line in shown.splitlines():
            count = line.split("|")[1].strip() if line.count("|") >= 2 else ""
            if count == "0" or line.startswith("/"):
                print(line)


if __name__ == "__main__":
    main()
