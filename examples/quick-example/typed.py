# SPDX-License-Identifier: MIT
"""typed.py MS: types the quick example at a terminal of its own, as a person would, and looks whether
the numbers after the restart follow those before it."""

import os
import pty
import re
import select
import sys
import time

MS = sys.argv[1]
PROMPT = "ready$ "
seen = ""


def wait_for(pattern, since=0, seconds=60):
    """Waits until the pattern is on the screen, behind the character `since`; where it ends."""
    global seen
    end = time.monotonic() + seconds
    while not (found := re.compile(pattern).search(seen, since)):
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        if not ready:
            sys.exit(f"\nwaited in vain for {pattern!r}; the screen: {seen[-400:]!r}")
        try:
            seen += os.read(terminal, 4096).decode(errors="replace")
        except OSError:
            sys.exit(f"\nthe shell has ended; the screen: {seen[-400:]!r}")
    return found.end()


def type_in(text):
    os.write(terminal, text.encode())


pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(PS1=PROMPT, TERM="dumb", HISTFILE="", BASH_SILENCE_DEPRECATION_WARNING="1")
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
try:
    at = wait_for(re.escape(PROMPT))
    type_in(f"ckpt ./count {MS}\n")
    at = wait_for(r"\n", at)
    first = at
    at = wait_for(r"\b3 ", at)
    type_in("\x1a")                           # ^Z
    at = wait_for(re.escape(PROMPT), at)
    before = [int(word) for word in re.findall(r"\d+(?= )", seen[first:at])]
    type_in("./count.ckpt\n")
    at = wait_for(r"\n", at)
    again = at
    at = wait_for(rf"\b{before[-1] + 3} ", at)
    type_in("\x03")                           # ^C
    wait_for(re.escape(PROMPT), at)
    after = [int(word) for word in re.findall(r"\d+(?= )", seen[again:at])]
    type_in("exit\n")
finally:
    print(seen.replace("\r", ""))
    os.close(terminal)
    os.waitpid(pid, 0)
numbers = before + after
if numbers != list(range(1, len(numbers) + 1)):
    sys.exit(f"the numbers do not follow each other: {before} and then {after}")
print(f"{len(before)} numbers, ^Z, {len(after)} numbers: none is missing")
