#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Another kernel and another processor for real: qemu-system starts a Linux of another version with a
processor of x86-64-v2 or v3. Images of this machine go on there, whole where --cpu has kept the program to
the level and refused by name where not.

The kernels are those in CKPT_TEST_KERNELS (paths, separated by colons), or other versions in /boot. Skipped
where there is none, or no qemu-system-x86_64, or no busybox that is linked statically."""

import gzip
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import harness

PROCESSORS = (("Nehalem", "x86-64-v2"), ("Haswell-noTSX", "x86-64-v3"))
WAIT = 400      # an emulated machine takes its time


def kernels():
    given = os.environ.get("CKPT_TEST_KERNELS")
    found = given.split(":") if given else sorted(map(str, pathlib.Path("/boot").glob("vmlinuz-*")))
    here = os.uname().release
    return [path for path in found if os.access(path, os.R_OK) and not path.endswith(here)]


def archive(entries):
    """A root file system, as the kernel takes it (cpio, newc): (path, mode, bytes) each."""
    out = bytearray()
    for number, (name, mode, data) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        raw = name.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(raw), 0)
        out += b"070701" + "".join(f"{field:08x}" for field in fields).encode() + raw
        out += bytes(-len(out) % 4) + data
        out += bytes(-len(out) % 4)
    return gzip.compress(bytes(out), 1)


class Root:
    """What the other machine starts with."""

    def __init__(self):
        self.entries, self.directories = {}, set()

    def directory(self, path):
        for parent in (*reversed(pathlib.PurePath(path).parents), pathlib.PurePath(path)):
            name = str(parent).lstrip("/")
            if name and name not in self.directories:
                self.directories.add(name)
                self.entries[name] = (0o040755, b"")

    def file(self, path, data, mode=0o755):
        self.directory(pathlib.PurePath(path).parent)
        self.entries[str(path).lstrip("/")] = (0o100000 | mode, data)

    def copy(self, path, at=None):
        self.file(at or path, pathlib.Path(path).read_bytes())

    def bytes(self):
        return archive((name, mode, data) for name, (mode, data) in self.entries.items())


def boot(setup, kernel, processor, root, script):
    """Runs the script there; gives its lines."""
    root.copy(shutil.which("busybox"), "/bin/busybox")
    for directory in ("/proc", "/sys", "/dev", "/tmp"):
        root.directory(directory)
    root.file("/init", f"""#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo began $(uname -r)
{script}
echo ended
reboot -f
""".encode())
    initrd = setup.scratch / "initrd.gz"
    initrd.write_bytes(root.bytes())
    command = ["qemu-system-x86_64", "-accel", "tcg", "-cpu", processor, "-m", "1024", "-nodefaults",
               "-display", "none", "-no-reboot", "-serial", "stdio",
               "-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1"]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=WAIT)
    except subprocess.TimeoutExpired as late:
        raise harness.Failure(f"{kernel} on {processor} does not end: {late.stdout!r}") from None
    text = done.stdout.decode(errors="replace").replace("\r", "")
    if not re.search(r"^ended$", text, re.M):
        raise harness.Failure(f"{kernel} on {processor}: {text[-3000:]} {done.stderr!r}")
    return text


def result(text, name):
    """(status, the lines) of one program there."""
    found = re.search(rf"^status {name} (\d+)$", text, re.M)
    if not found:
        raise harness.Failure(f"{name}: not there: {text[-3000:]}")
    return int(found[1]), "".join(re.findall(rf"^{name}: (.*\n)", text, re.M))


PROGRAMS = ("cpu_choice", "vdso_calls", "threads_vdso", "summing", "python3")
COUNT = """
import time
def step(x): return (x * 6364136223846793005 + 1442695040888963407) % (1 << 64)
began, x, n, words = time.monotonic(), 1, 0, {}
ready()
while not os.path.exists("stop"):
    x = step(x)
    n += 1
    words[str(x % 1000)] = n
y = 1
for i in range(n): y = step(y)
good = x == y and max(words.values()) == n and 0 <= time.monotonic() - began < 3600
os.write(1, b"ok\\n" if good else b"lost\\n")
"""


def images(setup, level):
    """Programs of this machine, frozen: where each works."""
    made = {}
    for name in PROGRAMS:
        session = harness.Session(setup, name)
        argv = session.script(COUNT) if name == "python3" else session.victim(name)
        session.start(argv, f"--cpu={level}")
        time.sleep(0.1)
        session.checkpoint()
        made[name] = session
    beyond = harness.Session(setup, "beyond")
    beyond.start(beyond.victim("cpu_choice"))
    beyond.checkpoint()
    made["beyond"] = beyond
    return made


def go_on_there(setup, kernel, processor, level):
    frozen = images(setup, level)
    root, script = Root(), ""
    for name, session in frozen.items():
        root.copy(session.image)
        script += f"""cd {session.cwd}
./{session.IMAGE} > out 2>&1 < /dev/null &
( sleep 3; touch stop ) & wait $!
wait %1
status=$?
sed 's/^/{name}: /' out
echo status {name} $status
"""
    text = boot(setup, kernel, processor, root, script)
    for name in PROGRAMS:
        status, out = result(text, name)
        if (status, out) != (0, "ok\n"):
            raise harness.Failure(f"{name} on {processor}: {status} {out!r}")
    status, out = result(text, "beyond")
    harness.expect_refusal(f"more than {processor} has", status, "", out, "this processor lacks", "avx512f|avx")
    return re.search(r"^began (.*)$", text, re.M)[1]


def body(setup):
    if not shutil.which("qemu-system-x86_64"):
        raise harness.Skip("no qemu-system-x86_64 (Debian: qemu-system-x86)")
    busybox = shutil.which("busybox")
    if not busybox or "not a dynamic" not in subprocess.run(
            ["ldd", busybox], capture_output=True, text=True).stderr:
        raise harness.Skip("no busybox that is linked statically (Debian: busybox-static)")
    found = kernels()
    if not found:
        raise harness.Skip("no kernel of another version: none in /boot, none in CKPT_TEST_KERNELS")
    cases = []
    for number, kernel in enumerate(found):
        processor, level = PROCESSORS[number % len(PROCESSORS)]
        if len(found) == 1 or setup.options.full:
            for processor, level in PROCESSORS:
                cases.append((kernel, processor, level))
        else:
            cases.append((kernel, processor, level))
    harness.run_cases(setup, [
        (f"{os.path.basename(kernel)} on {processor}",
         lambda case=(kernel, processor, level): print("  Linux", go_on_there(setup, *case)))
        for kernel, processor, level in cases])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true")
    sys.exit(harness.main(made, body))
