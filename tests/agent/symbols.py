#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Holds the freestanding objects to their promise: libckpt.so needs no library and no symbol but,
at most, weak malloc and free; the restarter needs nothing and is moved by RELATIVE relocations
alone; neither leaves a stack that can be executed."""
import re
import subprocess
import sys


# The functions of include/ckpt.h.
OFFERED = {"ckpt_" + name for name in (
    "ckpt", "config", "error", "fds", "generation", "hold", "instance", "on_postckpt", "on_preckpt",
    "on_restart", "present", "region", "release", "restart", "restarted", "version")}


def tool(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode != 0 or done.stderr.strip():
        sys.exit(f"{' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def check(failures, condition, text):
    if not condition:
        failures.append(text)


def main():
    library, restarter = sys.argv[1:]
    failures = []

    dynamic = tool("readelf", "-dW", library)
    check(failures, "Dynamic section" in dynamic, f"{library} has no dynamic section")
    check(failures, "(NEEDED)" not in dynamic, f"{library} needs another library")
    check(failures, "(RELR)" not in dynamic, f"{library} uses RELR, which musl 1.2.3 cannot load")
    check(failures, "(TEXTREL)" not in dynamic, f"{library} has text relocations")
    offered = set()
    for line in tool("readelf", "--dyn-syms", "-W", library).splitlines():
        fields = line.split()
        if len(fields) < 8 or not fields[0].rstrip(":").isdigit():
            continue
        binding, kind, section, name = fields[4], fields[3], fields[6], fields[7]
        if section == "UND":
            check(failures, binding == "WEAK" and name in ("malloc", "free"),
                  f"{library} needs the symbol {name}")
        else:
            check(failures, name in OFFERED, f"{library} offers the symbol {name}")
            offered.add(name)
        check(failures, kind not in ("TLS", "IFUNC"), f"{library}: {name} is {kind}")
    for name in sorted(OFFERED - offered):
        check(failures, False, f"{library} does not offer {name}")
    relocations = re.findall(r"R_X86_64_\w+", tool("readelf", "-rW", library))
    check(failures, relocations, f"{library} has no relocations at all: was it linked?")
    for kind in sorted(set(relocations)):
        check(failures, kind in ("R_X86_64_RELATIVE", "R_X86_64_GLOB_DAT", "R_X86_64_JUMP_SLOT",
                                 "R_X86_64_64"), f"{library} has relocations {kind}")

    for kind in sorted(set(re.findall(r"R_X86_64_\w+", tool("readelf", "-rW", restarter)))):
        check(failures, kind == "R_X86_64_RELATIVE", f"{restarter} has relocations {kind}")
    check(failures, "INTERP" not in tool("readelf", "-lW", restarter), f"{restarter} has an interpreter")
    undefined = [line.split()[-1] for line in tool("nm", "-u", restarter).splitlines()]
    check(failures, not undefined, f"{restarter} needs {undefined}")

    for path in (library, restarter):
        stack = re.search(r"GNU_STACK.*", tool("readelf", "-lW", path))
        check(failures, stack and "RWE" not in stack.group(0), f"{path}: executable stack")
    for failure in failures:
        print(failure)
    return 1 if failures else 0


sys.exit(main())
