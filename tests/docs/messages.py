#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""messages.py SOURCE-DIRECTORY: every message that the sources can print has a row in docs/MESSAGES.md,
and every phrase of a row is a message of the sources. `--list` prints what was found.

A message is what stands in quotes in a call that says something; `...` stands for the rest. It has a
row when one phrase of a row, between `; `, has its constant words up to the cure."""

import pathlib
import re
import sys

DIRECTORIES = ("frontends", "restart", "include/ckpt", "tools", "transfer")
# readckpt and generators speak for themselves: --help, tables.
LEFT_OUT = ("tools/fill_template.cpp", "tools/format_doc.cpp", "include/ckpt/base/text.hpp",
            "frontends/command/help.cpp", "include/ckpt/options/help.hpp")
CALLS = re.compile(r"(?<![\w.>:])(?:[\w.]+(?:\.|->)|(?:\w+::)+)?"
                   r"(refuse|explain|say|require|note|settle|image_error|transfer_error|absent_error|damaged_error|fprintf|fputs|usage|malformed|damaged|"
                   r"(?<=error\.)set)\s*\(|"
                   r"(std::cerr)\s*<<")
# A reason that is kept for later.
KEPT = re.compile(r'\b(?:\w+\.)?why\s*=\s*((?:[^;"]|"(?:[^"\\]|\\.)*")*);')
# A line with a name of its own; what is called a cure stands at the end of others.
NAMED = re.compile(r"constexpr std::string_view (?!cure|close_it)\w+\s*=((?:\s*\"(?:[^\"\\]|\\.)*\")+);")
PIECES = re.compile(r"(?:\b(?:line_?|text|why)\.append\((?:[^;\"]|\"(?:[^\"\\]|\\.)*\")*;\s*(?:if[^;{]*\)\s*)?)+")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
WORD = re.compile(r"[A-Za-z][a-z/]{2,}|/proc[\w/]*|[A-Z_]{3,}")
# Words that every second message has.
EMPTY = {"the", "and", "its", "has", "for", "with", "that", "this", "ckpt", "which", "not"}


def without_comments(text):
    return re.sub(r'("(?:[^"\\]|\\.)*")|//[^\n]*', lambda m: m[1] or "", text)


def call_text(text, start, chain):
    """From behind the opening bracket to its end; of a chain of << up to the semicolon."""
    depth, at = 0 if chain else 1, start
    while at < len(text):
        c = text[at]
        if c == '"':
            at = STRING.match(text, at).end()
            continue
        if c == "'":
            at += 3 if text[at + 1] != "\\" else 4
            continue
        if c in "([{":
            depth += 1
        elif c in ")]}":
            depth -= 1
            if depth == 0 and not chain:
                return text[start:at]
        elif c == ";" and depth == 0:
            return text[start:at]
        at += 1
    return text[start:]


CHOICE = re.compile(r'(\?[^:"?]*"(?:[^"\\]|\\.)*"[^:"?]*):((?:[^"?;,()]|\(\))*"(?:[^"\\]|\\.)*")')


# What is compared with or looked for is not said.
ASKED = re.compile(r'\b((?:access|starts_with|ends_with|find|getenv)\s*\(|[=!]=\s*)"(?:[^"\\]|\\.)*"')


def said(arguments):
    """The constant parts, `...` between them."""
    parts, end = [], 0
    for found in STRING.finditer(arguments):
        if arguments[end:found.start()].strip():
            parts.append(" ... ")
        parts.append(re.sub(r"\\.", " ", found[1]))
        end = found.end()
    if arguments[end:].strip():
        parts.append(" ... ")
    line = re.sub(r"%[-.*\d]*[lzh]*[sducx]", " ... ", "".join(parts))
    return re.sub(r"(\s*\.\.\.[\s,]*)+", " ... ", line).strip(" .")


def branches(arguments):
    """A choice `x ? "a" : "b"` makes two messages."""
    arguments = ASKED.sub(r"\1", arguments)
    return {said(CHOICE.sub(lambda m: m[1], arguments)), said(CHOICE.sub(lambda m: m[2], arguments))}


def sources(root):
    for directory in DIRECTORIES:
        for path in sorted((root / directory).rglob("*")):
            if path.suffix in (".hpp", ".cpp") and str(path.relative_to(root)) not in LEFT_OUT:
                yield path


def messages(root):
    """(file and line, what it says) for each."""
    for path in sources(root):
        text = without_comments(path.read_text())
        calls = [(found, call_text(text, found.end(), found[2] is not None), found[1])
                 for found in CALLS.finditer(text)]
        # A line that is put together piece by piece, over several statements.
        for found in PIECES.finditer(text):
            calls.append((found, found[0], None))
        calls += [(found, found[1], None) for found in KEPT.finditer(text)]
        if path.parts[-2] in ("agent", "restart", "hijack", "command", "options", "state"):
            calls += [(found, found[1], None) for found in NAMED.finditer(text)
                      if len(words(found[1])) >= 3]
        for found, arguments, name in calls:
            if name in ("fprintf", "fputs") and "stderr" not in arguments:
                continue
            for line in sorted(branches(arguments)):
                if len(set(words(line))) >= 2 and not line.startswith("usage: IMAGE"):
                    yield f"{path.relative_to(root)}:{text.count(chr(10), 0, found.start()) + 1}", line


def words(text):
    return [word.lower() for word in WORD.findall(text) if word.lower() not in EMPTY]


def head(line):
    """Without cure and consequence, unless nothing else is left."""
    line = re.sub(r"^(ckpt|readckpt): ", "", line)
    short = re.split(r"[;(]|, (?:which|and|so) ", line)[0]
    return short if len(set(words(short))) >= 2 else line


def table(root):
    """(line, phrase) of every first cell."""
    for number, line in enumerate((root / "docs/MESSAGES.md").read_text().splitlines(), 1):
        if line.startswith("| ") and "|" in line[2:]:
            for phrase in line[2:].split(" | ")[0].split("; "):
                if phrase not in ("reason", "message"):
                    yield number, phrase


def share(these, those):
    """How many of these are among those."""
    these = set(these)
    return len(these & set(those)) / len(these) if these else 1


def main():
    root = pathlib.Path(sys.argv[1])
    found = list(messages(root))
    if "--list" in sys.argv:
        for where, line in found:
            print(f"{where}: {line}")
        return 0
    rows = [(number, phrase, words(phrase)) for number, phrase in table(root)]
    failed = 0
    for where, line in found:
        wanted = words(head(line))
        if not any(share(wanted, has) >= 0.8 and share(has, words(line)) >= 0.5
                   for _, _, has in rows):
            failed += 1
            print(f"FAILED  {where}: no row in docs/MESSAGES.md has: {line}")
    everything = [words(line) for _, line in found]
    for number, phrase, has in rows:
        if has and not any(share(has, line) >= 0.6 for line in everything):
            failed += 1
            print(f"FAILED  docs/MESSAGES.md:{number}: nothing says: {phrase}")
    if len(found) < 200 or len(rows) < 150:
        failed += 1
        print(f"FAILED  only {len(found)} messages and {len(rows)} phrases were found")
    print(f"{len(found)} messages, {len(rows)} phrases, {failed} without the other")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
