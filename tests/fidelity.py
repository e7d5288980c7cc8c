#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Prints docs/FIDELITY.md: what of a program comes back, state by state, as the victims say it in
their `// Fidelity:` lines (AREA | STATE | OUTCOME) and tests/e2e/refuse.py in its table. With a file
as the second argument, compares instead."""

import pathlib
import re
import sys

AREAS = {
    "registers": "Registers", "thread": "Threads", "signals": "Signals", "timers": "Timers",
    "calls": "System calls", "memory": "Memory", "descriptors": "Descriptors",
    "process": "The process", "API": "What it asks of ckpt (ckpt.h)", "settings": "What it has asked of the kernel",
    "hijack": "A program that ckpt -p comes into",
}
# Where a state is not looked at in a restarted program only.
COLUMN = {"hijack": "afterwards"}

TOP = """# What comes back

Made by tests/fidelity.py from the victims, programs that set a state up, are checkpointed and
restarted over and over, and then check themselves; each row names its victim in tests/victims.
`readckpt IMAGE`, and `readckpt state IMAGE`, show what an image has of it.

*kept*: as it was, to the byte and to the flag. *refused*: the checkpoint is refused with a line that
says what is there quoted, and the program goes on.
"""

# Of descriptors, which e2e scripts show rather than victims.
OF_SCRIPTS = [
    ("descriptors", "open files: offset, flags, sharing by dup, close-on-exec", "kept",
     "e2e/files_policy.py"),
    ("descriptors", "deleted files", "kept with their contents", "e2e/files_policy.py"),
    ("descriptors", "POSIX, OFD and flock locks", "kept", "e2e/undisturbed.py"),
    ("descriptors", "a terminal, pipe or socket on 0, 1 and 2", "those of whoever restarts",
     "e2e/rounds.py"),
    ("process", "process id", "kept for root and, in a namespace, for an ordinary user; otherwise "
     "another, with a line under --verbose", "e2e/identity.py"),
    ("process", "parent, process group, session", "those of the restart", "e2e/identity.py"),
    ("process", "/proc/self/exe", "kept where the kernel allows it", "e2e/identity.py"),
    ("process", "user and group ids, groups, capabilities", "kept for root; an ordinary user stays "
     "who he is, and nobody gets more than whoever restarts has", "e2e/identity.py"),
    ("API", "ckpt_ckpt from main, deep in a recursion, threads, handlers, a small alternate stack: "
     "registers, mask, errno", "kept", "e2e/api.py"),
    ("API", "ckpt_hold while another thread's checkpoint is on its way; what was put off", "kept",
     "e2e/api.py"),
    ("timers", "CLOCK_MONOTONIC and CLOCK_BOOTTIME", "go on where they were wherever a time "
     "namespace may be made; otherwise this machine's", "e2e/identity.py"),
    ("hijack", "threads, registers, masks, pending signals; calls in flight, with a time limit or none",
     "kept; no EINTR, time limits never early", "e2e/hijack.py"),
    ("hijack", "signals that arrive meanwhile", "come once, in order", "e2e/hijack.py"),
    ("hijack", "threads in the middle of dlopen, dlclose and dl_iterate_phdr; 256 threads", "kept",
     "e2e/injections.py"),
    ("hijack", "the loader's lock and the allocator's, held by threads that do not give them back", "kept; "
     "nobody waits for them", "e2e/injections.py"),
    ("hijack", "sums, sleeps and pipes of six threads over 10,000 injections and removals; mappings, "
     "descriptors, threads, dispositions, masks, timers", "kept; nothing of ckpt is left",
     "e2e/injections.py"),
    ("hijack", "whoever injects is killed, at any moment", "it goes on, and "
     "the next injection works; what was mapped until then stays, unused, and a sleep with a time limit "
     "may begin anew; [two gaps](../frontends/hijack/README.md)", "e2e/injections.py"),
    ("hijack", "an injection that is refused", "nothing has changed", "e2e/permission.py"),
]

# Known to be lost without a line; no victim shows what is not there.
LOST = [
    "namespaces that the program made for itself",
    "NUMA policies (set_mempolicy, mbind)",
    "system call dispatch to user code (PR_SET_SYSCALL_USER_DISPATCH)",
    "processor time used so far: clock() and getrusage() begin again",
    "directory notification (F_NOTIFY), the session keyring, the selectors ds, es and gs",
]


def rows_of_victims(root):
    listed = re.search(r"set\(CKPT_VICTIMS\n(.*?)\)", (root / "tests/victims/CMakeLists.txt").read_text(),
                       re.S)[1].split()
    for name in sorted(listed):
        text = (root / f"tests/victims/{name}.cpp").read_text()
        for line in re.findall(r"^// Fidelity: (.*)$", text, re.M):
            parts = [part.strip() for part in line.split(" | ")]
            if len(parts) != 3 or parts[0] not in AREAS:
                raise SystemExit(f"{name}.cpp: not AREA | STATE | OUTCOME: {line}")
            yield (*parts, name)


def document(root):
    sys.path[:0] = [str(root / "tests/e2e"), str(root / "tests/agent")]
    import refuse
    import sizes
    rows = [*rows_of_victims(root), *OF_SCRIPTS]
    parts = [TOP]
    for area, title in AREAS.items():
        column = COLUMN.get(area, "in a restarted program")
        parts.append(f"\n## {title}\n| state | {column} | shown by |\n|---|---|---|\n")
        parts += [f"| {state} | {outcome} | `{by}` |\n" for of, state, outcome, by in rows if of == area]
    parts.append("\n## Refused\n| what the program holds | the line says |\n|---|---|\n")
    parts += [f"| {state} | “{line}” |\n" for state, line in refuse.KINDS.values()]
    parts.append("\n## Lost\nNot refused and not kept in this version:\n")
    parts += [f"- {what};\n" for what in LOST[:-1]] + [f"- {LOST[-1]}.\n"]
    parts.append("\n[MESSAGES.md](MESSAGES.md) has every line with its cure.\n\n"
                 "## What it costs a program\nTests hold these limits (tests/agent).\n\n"
                 "| what | bytes at most |\n|---|---|\n")
    parts += [f"| {what} | {limit:,} |\n" for what, limit in sizes.LIMITS.items()]
    return "".join(parts)


def main(root, file=None):
    text = document(pathlib.Path(root))
    if file is None:
        print(text, end="")
        return 0
    if pathlib.Path(file).read_text() == text:
        return 0
    print(f"{file} is not what the victims say: tests/fidelity.py . > docs/FIDELITY.md")
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
