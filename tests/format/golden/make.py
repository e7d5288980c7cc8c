#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""make.py CKPT IMAGE.xz [more]: makes a golden image with some version of ckpt, as root. It is of a program
that depends on nothing of the machine, by a user that every machine has, and says that it needs nothing
of the processor, which is true of this program: so any machine can restart it."""

import lzma
import os
import pathlib
import signal
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
import ckpt_image
import xxh3

NOBODY = 65534


def freeze(ckpt, directory, words):
    program = pathlib.Path("/tmp/golden")
    subprocess.run(["cc", "-O1", "-nostdlib", "-static", "-fno-stack-protector", "-fno-pie", "-no-pie",
                    "-o", program, HERE / "program.c"], check=True)
    os.chown(directory, NOBODY, NOBODY)
    line = ("hostname golden && cd / && exec setpriv --reuid 65534 --regid 65534 --clear-groups "
            "env -i \"$@\"")
    process = subprocess.Popen(["unshare", "--uts", "sh", "-c", line, "sh", ckpt, "-n",
                                f"{directory}/image", program, *words],
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL)
    assert process.stdout.readline() == b"ready\n"
    while True:                 # frozen in its read, not on the way to it
        with open(f"/proc/{process.pid}/syscall", encoding="ascii") as file:
            if file.read().startswith("0 "):
                break
    os.kill(process.pid, signal.SIGTSTP)
    assert process.wait(30) == 0
    program.unlink()
    return pathlib.Path(directory, "image").read_bytes()


def without_machine(data):
    """The record `cpu` with nothing but x87 and SSE, a kernel that everybody knows."""
    form = ckpt_image.Format((HERE.parents[2] / "docs/FORMAT.md").read_text())
    image = ckpt_image.Image(form, data).whole()
    assert [s.component for s in image.records["extended_state"]] == [0]
    data, h, at = bytearray(data), image.header, image.header.metadata_offset
    while at < h.metadata_offset + h.metadata_size:
        kind, _, fixed, size = struct.unpack_from("<HHIQ", data, at)
        if form.types.get(kind) == "cpu":
            struct.pack_into("<QQ", data, at + 16, 0, 3)
        elif form.types.get(kind) == "host":
            data[at + 16 + 64:at + 16 + 128] = b"6.1.0".ljust(64, b"\0")
            data[at + 16 + fixed:at + 16 + size] = b"#1 SMP".ljust(size - fixed)
        at += 16 + -(-size // 8) * 8
    seal(form, data, h)
    ckpt_image.Image(form, bytes(data)).whole()
    return bytes(data)


def seal(form, data, h):
    """The checksums of metadata and header."""
    offset = {f.name: 512 + f.offset for f in form.structures["file_header"].fields}
    metadata = bytes(data[h.metadata_offset:h.metadata_offset + h.metadata_size])
    struct.pack_into("<Q", data, offset["metadata_checksum"], xxh3.checksum(metadata))
    struct.pack_into("<Q", data, offset["header_checksum"], 0)
    size = form.structures["file_header"].size
    struct.pack_into("<Q", data, offset["header_checksum"],
                     xxh3.checksum(bytes(data[512:512 + size])))


def main(ckpt, out, *words):
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        data = without_machine(freeze(os.path.abspath(ckpt), directory, words))
    pathlib.Path(out).write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))
    print(f"{out}: {len(data)} bytes, {os.path.getsize(out)} compressed")


if __name__ == "__main__":
    main(*sys.argv[1:])
