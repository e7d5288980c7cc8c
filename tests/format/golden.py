#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Images that earlier versions have made stay readable: by the reader in Python, which knows docs/FORMAT.md
only, by readckpt, by the restarter at their own head and by today's ckpt-restart. The program in them
looks whether everything is as it was."""

import lzma
import os
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]
import ckpt_image
import harness
import xxh3

GOLDEN = sorted((HERE / "golden").glob("*.xz"))
DOCUMENT = HERE.parents[1] / "docs/FORMAT.md"
OWNER = 65534


def vectors():
    rows = re.findall(r"^\| (\d+) \| (0x[0-9a-f]{16}) \|$", DOCUMENT.read_text(), re.M)
    if len(rows) < 15:
        raise harness.Failure(f"docs/FORMAT.md has {len(rows)} test vectors")
    for length, wanted in rows:
        got = xxh3.checksum(bytes(i % 251 for i in range(int(length))))
        if got != int(wanted, 16):
            raise harness.Failure(f"XXH3 of {length} bytes is {got:#x}, not {wanted}")


def read(path, data, form):
    image = ckpt_image.Image(form, data).whole()
    version = f"{image.header.major}.{image.header.minor}"
    if path.name.split("-")[0].removesuffix(".xz") != version:
        raise harness.Failure(f"{path.name} is an image of format {version}")
    # Its memory is known: word i of an array in it is i * 2654435761 ^ i.
    known = b"".join((i * 2654435761 & 0xffffffff ^ i).to_bytes(4, "little") for i in range(12288))
    text = b"".join(image.memory(s.address, s.length) for s in image.records["segment"]
                    if s.protection & 2 and s.kind in (1, 2) and s.length < 1 << 20)
    if known not in text:
        raise harness.Failure(f"{path.name}: the program's memory is not in it")


def restart(setup, path, data):
    directory = setup.directory(path.stem)
    image = directory / "golden.ckpt"
    image.write_bytes(data)
    os.chmod(image, 0o700)
    setup.give(image)
    done = setup.run([setup.readckpt, "verify", image], directory)
    if done[0] != 0 or ": whole, " not in done[1]:
        raise harness.Failure(f"{path.name}: readckpt verify: {done}")
    if os.geteuid() not in (0, OWNER):
        raise harness.Skip("its program is user 65534")
    for words in (["./golden.ckpt"], [setup.restart, "golden.ckpt"]):
        done = setup.run(words, directory)
        if done != (0, "ok\n", ""):
            raise harness.Failure(f"{path.name}, {words[0]}: {done}")


def body(setup):
    form = ckpt_image.Format(DOCUMENT.read_text(encoding="utf-8"))
    if not {"1.0", "1.1"} <= {path.stem for path in GOLDEN}:
        raise harness.Failure(f"golden images: {[path.name for path in GOLDEN]}")
    cases = [("the test vectors of the document", vectors)]
    for path in GOLDEN:
        data = lzma.decompress(path.read_bytes())
        cases += [(f"{path.stem}, the reader in Python", lambda p=path, d=data: read(p, d, form)),
                  (f"{path.stem}, restarted", lambda p=path, d=data: restart(setup, p, d))]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
