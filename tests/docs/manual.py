#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""manual.py --pages INSTALLED-MAN --source DIRECTORY --fill FILL_TEMPLATE --cc COMPILER: every page
renders without a complaint, names every option and variable and each exit status; ckpt(3) has every
function with its contexts, errors and an example, and the examples compile."""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

SKIPPED = 77
faults = []


def fault(text):
    faults.append(text)
    print(f"FAILED  {text}")


def rendered(page):
    done = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=100", page], capture_output=True,
                          text=True)
    return re.sub(r".\x08", "", done.stdout)  # without overstriking


def lint(page):
    done = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", page], capture_output=True,
                          text=True)
    for line in (done.stdout + done.stderr).splitlines():
        # scdoc begins each block with a paragraph, which mandoc finds idle after a heading.
        if "skipping paragraph macro" not in line:
            fault(line)


def table(fill):
    text = subprocess.run([fill, "--list"], capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in text.splitlines()]


def section(text, title):
    found = re.search(rf"^{re.escape(title)}\n(.*?)(?=^\S|\Z)", text, re.M | re.S)
    return found[1] if found else ""


def options(name, text, rows, readers):
    for long_name, short, variable, who, _ in rows:
        if not set(readers) & set(who):
            continue
        if long_name != "-" and set(who) & set(readers) - {"a"}:
            form = f"--{long_name}" if short == "-" else f"-{short}, --{long_name}"
            if not re.search(rf"^ +{re.escape(form)}\b", section(text, "OPTIONS"), re.M):
                fault(f"{name}: no option {form}")
        if variable != "-":
            if not re.search(rf"^ +{variable}$", section(text, "ENVIRONMENT"), re.M):
                fault(f"{name}: no variable {variable}")


def statuses(name, text, wanted):
    said = section(text, "EXIT STATUS")
    for status in wanted:
        if not re.search(rf"^ +{status} +\S", said, re.M):
            fault(f"{name}: EXIT STATUS does not say {status}")


def own_options(name, text, program):
    """Of a program that has a table of its own: its --help and its page name the same options."""
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    long_option = r"(?<![\w-])--([a-z][a-z-]+)"
    offered = set(re.findall(long_option, shown))
    # A line of the page may end behind a hyphen of an option's.
    documented = set(re.findall(long_option, re.sub(r"-\n +", "-", section(text, "OPTIONS"))))
    if len(offered) < 5:
        fault(f"{name}: only {len(offered)} options found in its --help")
    for option in sorted(offered ^ documented):
        fault(f"{name}: --{option} is {'not in its page' if option in offered else 'in its page only'}")


def functions(source):
    """The names that include/ckpt.h declares."""
    header = (source / "include/ckpt.h").read_text()
    found = re.findall(r"^CKPT_DECLARE\([^,]*, (\w+),", header, re.M)
    found += re.findall(r"^CKPT_DECLARE_VOID\((\w+),", header, re.M)
    return ["ckpt_" + name for name in found]


PREAMBLE = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>
#include <ckpt.h>
extern int log_fd, database;
extern char key[32];
extern void *cache;
extern size_t cache_size;
extern void reseed(void), write_record(int), save_by_myself_every(int), open_log_again(void);
extern void seed_from(const unsigned char *, size_t);
"""


def example_compiles(compiler, source, code, label):
    """Definitions of functions stay outside, the rest goes into one."""
    outside, inside, depth = [], [], 0
    for line in code.splitlines():
        definition = depth > 0 or re.match(r"(static )?(void|int) \w+\([^;]*\) *\{", line)
        (outside if definition else inside).append(line)
        if definition:
            depth += line.count("{") - line.count("}")
    text = PREAMBLE + "\n".join(outside) + "\nvoid example(void) {\n" + "\n".join(inside) + "\n}\n"
    done = subprocess.run([compiler, "-std=c99", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
                           "-Wno-unused-parameter", f"-I{source}/include", "-fsyntax-only", "-xc", "-"],
                          input=text, capture_output=True, text=True)
    if done.returncode != 0:
        fault(f"{label}: the example does not compile:\n{done.stderr}")


def library_page(text, page_source, pages, source, compiler):
    names = functions(source)
    if len(names) < 10:
        fault(f"only {len(names)} functions found in ckpt.h")
    # The template's own words, filled in: what is code there is literal.
    parts = re.split(r"^## (.*)$", page_source.split("\n# FUNCTIONS\n")[1].split("\n# ")[0], flags=re.M)
    documented = {}
    for title, content in zip(parts[1::2], parts[2::2]):
        for name in title.split(", "):
            documented[name.strip()] = content
    for name in names:
        if not (pages / f"man3/{name}.3").exists():
            fault(f"no page {name}(3) that leads to ckpt(3)")
        content = documented.get(name)
        if content is None:
            fault(f"ckpt.3: nothing of {name}")
            continue
        if not re.search(r"\b([Ss]ignal-safe|Ordinary|Callback)\b", content):
            fault(f"ckpt.3: {name}: no word on its context")
        if not re.search(r"cannot fail|ckpt\\_error\(\)|returns -1|-1, and|NULL outside", content):
            fault(f"ckpt.3: {name}: no word on errors")
        examples = re.findall(r"^```\n(.*?)^```$", content, re.M | re.S)
        if not examples:
            fault(f"ckpt.3: {name}: no example")
        for code in examples:
            example_compiles(compiler, source, code.replace("\\\\", "\\"), f"ckpt.3: {name}")
    for name in set(documented) - set(names):
        fault(f"ckpt.3: {name} is not in ckpt.h")
    if "struct ckptconfig" not in text:
        fault("ckpt.3 does not render")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("pages", "source", "fill", "cc"):
        parser.add_argument(f"--{name}", required=True)
    given = parser.parse_args()
    pages, source = pathlib.Path(given.pages), pathlib.Path(given.source)
    if not shutil.which("mandoc"):
        print("skipped: mandoc is not installed")
        return SKIPPED
    if not (pages / "man1/ckpt.1").exists():
        print("skipped: scdoc is not installed, so there are no pages")
        return SKIPPED
    all_pages = sorted(page for page in pages.glob("man*/*") if page.is_file())
    text = {page.name: rendered(page) for page in all_pages if ".so " not in page.read_text()[:4]}
    for page in all_pages:
        if page.name in text:
            lint(page)
    if set(text) != {"ckpt.1", "ckpt-restart.1", "ckpt-transfer.1", "ckptsrv.1", "readckpt.1", "ckpt.3",
                     "ckpt-image.5"}:
        fault(f"the pages are {sorted(text)}")
    rows = table(given.fill)
    options("ckpt.1", text["ckpt.1"], rows, "ca")
    options("ckpt-restart.1", text["ckpt-restart.1"], rows, "r")
    for program in ("ckptsrv", "ckpt-transfer"):
        own_options(program, text[f"{program}.1"], pages.parent.parent / "bin" / program)
    statuses("ckpt.1", text["ckpt.1"], (0, 125, 126, 127))
    statuses("ckpt-restart.1", text["ckpt-restart.1"], (125,))
    statuses("readckpt.1", text["readckpt.1"], (0, 1, 2))
    filled = subprocess.run([given.fill, source / "docs/man/ckpt.3.scd", source],
                            capture_output=True, text=True, check=True).stdout
    library_page(text["ckpt.3"], filled, pages, source, given.cc)
    # Every field that docs/FORMAT.md describes is in ckpt-image(5).
    image = text["ckpt-image.5"]
    fields = re.findall(r"^\| \d+ \| \d+ \| [^|]* \| `(\w+)` \|",
                        (source / "docs/FORMAT.md").read_text(), re.M)
    if len(fields) < 100:
        fault(f"only {len(fields)} fields found in docs/FORMAT.md")
    for field in fields:
        if not re.search(rf"^ +{field} \(offset", image, re.M):
            fault(f"ckpt-image.5: nothing of {field}")
    print(f"{len(text)} pages, {len(rows)} options, {len(functions(source))} functions, "
          f"{len(fields)} fields")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
