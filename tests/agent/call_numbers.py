#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The number that the agent finds before a `syscall` instruction is the one that is there: compared
with a disassembler's view of the C library, and of whatever else is named."""

import os
import re
import shutil
import subprocess
import sys

SKIPPED = 77
# What a disassembler must show before a call for its number to be certain, nearest first.
SETS = re.compile(r"(?:mov\s+\$0x([0-9a-f]+),%[er]ax|(xor\s+%eax,%eax))$")
WRITES = re.compile(r"(?:,|\b(?:inc|dec|neg|not|pop|mul|div|idiv|set\w+)\s+)%(?:[er]ax|a[lxh])$")
FLOW = re.compile(r"\b(call|jmp|ret|syscall|ud2|hlt|cltq|cwtl|cqto|cpuid|rdtsc|xchg|cmpxchg)\b")
# Those that wait: where the C library has one of them in the code, it must be found.
WAITING = {7: "poll", 23: "select", 34: "pause", 35: "nanosleep", 128: "rt_sigtimedwait",
           130: "rt_sigsuspend", 230: "clock_nanosleep", 232: "epoll_wait", 270: "pselect6",
           271: "ppoll", 281: "epoll_pwait"}


def truth(path):
    """For each syscall instruction, by file offset: its number, or None where it is not certain."""
    headers = subprocess.run(["objdump", "-hw", path], capture_output=True, text=True, check=True)
    shifts = []
    for line in headers.stdout.splitlines():
        words = line.split()
        if len(words) > 6 and words[0].isdigit() and "CODE" in line:
            size, address, offset = (int(words[i], 16) for i in (2, 3, 5))
            shifts.append((address, address + size, offset - address))
    listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", path], capture_output=True,
                             text=True, check=True).stdout
    found = {}
    recent = []
    for line in listing.splitlines():
        match = re.match(r"\s*([0-9a-f]+):\t(.*)", line)
        if not match:
            continue
        address, text = int(match[1], 16), match[2].split("#")[0].strip()
        if text == "syscall":
            number = None
            for before in reversed(recent[-12:]):
                sets = SETS.match(before)
                if sets:
                    number = int(sets[1], 16) if sets[1] else 0
                    break
                if FLOW.search(before) or WRITES.search(before):
                    break
            shift = next(s for begin, end, s in shifts if begin <= address < end)
            found[address + shift] = number
        recent.append(text)
    return found


def main():
    tool, *paths = sys.argv[1:]
    if not shutil.which("objdump"):
        print("skip: no objdump")
        return SKIPPED
    status = 0
    for path in filter(os.path.exists, paths):
        sites = truth(path)
        places = "".join(f"{offset:x}\n" for offset in sites)
        answer = subprocess.run([tool, path], input=places, capture_output=True, text=True,
                                check=True).stdout
        seen = found = 0
        for line in answer.splitlines():
            place, number = line.split()
            offset, number = int(place, 16), int(number)
            wanted = sites[offset]
            seen += 1
            found += number >= 0
            if number >= 0 and number != wanted:
                print(f"{path}+{offset:#x}: {number} instead of {wanted}")
                status = 1
            if number < 0 and wanted in WAITING and os.path.basename(path) == "libc.so.6":
                print(f"{path}+{offset:#x}: {WAITING[wanted]} is not found")
                status = 1
        certain = sum(number is not None for number in sites.values())
        print(f"{path}: {seen} calls, {certain} with a number in the code, {found} found")
        if seen == 0 or seen != len(sites) or found < certain // 2:
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
