#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""docs/SYSTEM_CALLS.md names every call that the agent makes again, and no other, and every victim
that it names is there and is run."""

import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
header = (root / "frontends/agent/interrupted_call.hpp").read_text()
function = re.search(r"can_be_interrupted\(.*?default:", header, re.S)[0]
made_again = set(re.findall(r"__NR_(\w+)", function))

sys.path.insert(0, str(root / "tests/e2e"))
sys.dont_write_bytecode = True
import calls  # noqa: E402

run = {(program, call) for program, cases in calls.GROUPS.values() for call in cases}
listed = (root / "tests/victims/CMakeLists.txt").read_text()
alone = set(re.search(r"set\(CKPT_VICTIMS(.*?)\)", listed, re.S)[1].split())

wrong = []
described, shown = set(), set()
for line in (root / "docs/SYSTEM_CALLS.md").read_text().splitlines():
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    if not line.startswith("| `") or len(cells) != 5:
        continue
    described |= set(re.findall(r"`(\w+)`", cells[0]))
    for words in re.findall(r"`([^`]*)`", cells[4]):
        program, _, call = words.partition(" ")
        shown.add((program, call))
        if (program, call) not in run and (call or program not in alone):
            wrong.append(f"the table names a victim that is not run: {words}")

wrong += [f"the agent makes {call} again, but the table lacks it"
          for call in sorted(made_again - described)]
wrong += [f"the table has {call}, but the agent does not make it again"
          for call in sorted(described - made_again)]
waiting = {program for program, _ in run} | {v for v in alone if v.startswith("wait_")}
for program in sorted(waiting):
    if not any(program == name for name, _ in shown):
        wrong.append(f"the table does not name {program}")
print("\n".join(wrong) if wrong else f"{len(described)} calls, {len(shown)} victims")
sys.exit(1 if wrong or len(described) < 40 else 0)
