#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Measures what ckpt claims, against what the machine can do in the same run.

    bench.py [--prefix DIR] [--programs DIR] [--sizes 16M,256M,1G,4G] [--threads 1,32,256,1000]
             [--standstill 1,256]
             [--where DIR]... [--write FILE]

Prints a table as text; --write puts the same as Markdown into FILE (docs/FIGURES.md). Every figure
is a median; what is compared alternates, so that a machine that becomes slower does so for both.
The page cache is warm: a checkpoint has just been written when it is read.
"""

import argparse
import datetime
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
TRIGGER = signal.SIGTSTP
PAGE = 4096
MIB = 1 << 20


class Broken(Exception):
    """A measurement that cannot be taken, or a program that came back wrong."""


def now():
    return time.monotonic_ns()


def median(values):
    return statistics.median(values)


# --- programs under measurement --------------------------------------------------------------

class Running:
    """A process with pipes on 1 and 2 and nothing else but /dev/null."""

    def __init__(self, argv, directory, environment=None):
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        # What this program was given beyond 0, 1 and 2 is closed in main(), pipes are close-on-exec.
        actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, out_write, 1),
                   (os.POSIX_SPAWN_DUP2, err_write, 2)]
        path = shutil.which(str(argv[0])) or str(argv[0])
        argv = [str(word) for word in argv]
        environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8",
                       **(environment or {})}
        previous = os.getcwd()
        os.chdir(directory)
        try:
            self.started = now()
            self.pid = os.posix_spawn(path, argv, environment, file_actions=actions)
        finally:
            os.chdir(previous)
        for fd in (out_write, err_write, null):
            os.close(fd)
        self.out, self.err = out_read, err_read
        self.text = {self.out: b"", self.err: b""}
        self.argv = argv

    def line(self, fd, seconds=300):
        """The next line and the moment it came."""
        end = time.monotonic() + seconds
        while b"\n" not in self.text[fd]:
            left = end - time.monotonic()
            if left < 0 or not select.select([fd], [], [], left)[0]:
                self.kill()
                raise Broken(f"{self.argv}: nothing within {seconds} s")
            piece = os.read(fd, 65536)
            at = now()
            if not piece:
                status = self.wait()
                raise Broken(f"{self.argv}: ended with {status}: {self.text[self.err]!r}")
            self.text[fd] += piece
        else:
            at = now()
        line, _, self.text[fd] = self.text[fd].partition(b"\n")
        return line.decode(errors="replace"), at

    def wait(self):
        _, status = os.waitpid(self.pid, 0)
        self.ended = now()
        while piece := os.read(self.err, 65536):
            self.text[self.err] += piece
        os.close(self.out)
        os.close(self.err)
        return os.waitstatus_to_exitcode(status)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)


class Bench:
    def __init__(self, options):
        self.ckpt = options.prefix / "bin/ckpt"
        self.programs = options.programs
        self.repeat = options.repeat
        for needed in (self.ckpt, self.programs / "raw_io"):
            if not needed.exists():
                raise Broken(f"{needed} is not there; build first, and see --help")

    def raw(self, *words):
        done = subprocess.run([self.programs / "raw_io", *map(str, words)], capture_output=True,
                              text=True)
        if done.returncode != 0:
            raise Broken(f"raw_io {words}: {done.stderr}")
        return int(done.stdout)

    def freeze(self, argv, directory, image, look=None):
        """Runs a program under ckpt until it says `ready`, and freezes it. Returns how long the
        image took until the agent said that it is complete, and until the program had ended."""
        program = Running([self.ckpt, "-v", "-n", image, *argv], directory)
        text, _ = program.line(program.out)
        if text != "ready":
            raise Broken(f"{argv}: says {text!r}")
        time.sleep(0.02)
        seen = look(program.pid) if look else None
        begin = now()
        os.kill(program.pid, TRIGGER)
        said, complete = program.line(program.err)
        if not said.startswith("ckpt: checkpoint "):
            program.kill()
            raise Broken(said)
        status = program.wait()
        if status != 0:
            raise Broken(f"{argv}: status {status}")
        return complete - begin, program.ended - begin, seen

    # --- big programs ------------------------------------------------------------------------

    def big(self, size, directory, repeat):
        """Seconds of each; the program's own clock says when it runs again."""
        took = {name: [] for name in ("write", "checkpoint", "ended", "read", "copy", "restart")}
        image = directory / "big.ckpt"
        plain = directory / "plain"
        for _ in range(repeat):
            plain.unlink(missing_ok=True)
            image.unlink(missing_ok=True)
            os.sync()
            took["write"].append(self.raw("write", plain, size))
            plain.unlink()
            os.sync()
            complete, ended, _ = self.freeze([self.programs / "resident", size], directory, image)
            took["checkpoint"].append(complete)
            took["ended"].append(ended)
            took["read"].append(self.raw("read", image))
            took["copy"].append(self.raw("copy", image))
            program = Running([image], directory)
            again, _ = program.line(program.out)
            took["restart"].append(int(again) - program.started)
            right, _ = program.line(program.out)
            status = program.wait()
            if right != "right" or status != 0:
                raise Broken(f"{size} bytes came back {right}, status {status}")
        image.unlink()
        return {name: median(values) / 1e9 for name, values in took.items()}

    # --- small programs ----------------------------------------------------------------------

    def small(self, argv, directory, repeat):
        took = {name: [] for name in ("checkpoint", "write", "restart", "bare")}
        image = directory / "small.ckpt"
        plain = directory / "plain"
        for _ in range(repeat):
            image.unlink(missing_ok=True)
            plain.unlink(missing_ok=True)
            _, ended, _ = self.freeze(argv, directory, image)
            took["checkpoint"].append(ended)
            took["write"].append(self.raw("write", plain, image.stat().st_size))
            program = Running([image], directory)
            text, at = program.line(program.out)
            if text != "again" or program.wait() != 0:
                raise Broken(f"{argv}: came back with {text!r}")
            took["restart"].append(at - program.started)
            bare = Running(argv, directory)
            _, at = bare.line(bare.out)
            took["bare"].append(at - bare.started)
            bare.kill()
            bare.wait()
        image.unlink()
        plain.unlink()
        return {name: median(values) / 1e6 for name, values in took.items()}

    def start_up(self, directory, loops):
        took = {"bare": [], "ckpt": []}
        null = os.open("/dev/null", os.O_RDWR)
        actions = [(os.POSIX_SPAWN_DUP2, null, fd) for fd in (0, 1, 2)]
        true = shutil.which("true")
        environment = {"PATH": "/usr/bin:/bin", "CKPT_NAME": str(directory / "never.ckpt")}
        for _ in range(loops):
            for name, argv in (("bare", [true]), ("ckpt", [str(self.ckpt), true])):
                begin = now()
                pid = os.posix_spawn(argv[0], argv, environment, file_actions=actions)
                os.waitpid(pid, 0)
                took[name].append(now() - begin)
        os.close(null)
        return {name: median(values) / 1e6 for name, values in took.items()}

    # --- threads -----------------------------------------------------------------------------

    def threads(self, count, kind, directory, repeat):
        """Milliseconds from the signal until nobody runs any more, until somebody runs again (the
        program goes on after its checkpoint), and from executing the image until a thread runs."""
        took = {name: [] for name in ("frozen", "pause", "restart")}
        image = directory / "threads.ckpt"
        argv = [self.programs / "threads", count, kind]

        def report(program):
            os.kill(program.pid, signal.SIGUSR1)
            return [int(word) for word in program.line(program.out)[0].split()]

        for _ in range(repeat):
            image.unlink(missing_ok=True)
            program = Running([self.ckpt, "-c", "-v", "-n", image, *argv], directory)
            program.line(program.out)
            time.sleep(0.1)
            report(program)     # what was before does not count
            time.sleep(0.05)
            begin = now()
            os.kill(program.pid, TRIGGER)
            said, complete = program.line(program.err)
            if not said.startswith("ckpt: checkpoint "):
                program.kill()
                raise Broken(said)
            time.sleep(0.05)
            stopped, again = report(program)
            program.kill()
            program.wait()
            if not stopped < complete or not begin < again:
                continue        # something else has held the machine up for longer
            # Who sends the signal may have taken the processor of the one who watches.
            stopped = max(begin, stopped)
            took["frozen"].append(stopped - begin)
            took["pause"].append(again - stopped)
            program = Running([image], directory)
            again, _ = program.line(program.out)
            took["restart"].append(int(again) - program.started)
            right, _ = program.line(program.out)
            if right != "right" or program.wait() != 0:
                raise Broken(f"{count} threads came back {right}")
        image.unlink(missing_ok=True)
        if not took["frozen"]:
            raise Broken(f"{count} threads: this machine is too busy")
        return {name: median(values) / 1e6 for name, values in took.items()}

    def standstill(self, count, directory, repeat):
        """Milliseconds in which no thread of a program runs that others do something to, the longest at
        a stretch. In turns on one program, started bare."""
        ckpt = [self.ckpt, "-p"]
        ways = {"hold": lambda pid: [self.programs / "hold", pid],
                "inject": lambda pid: [*ckpt, pid, "-n", "standstill.ckpt"],
                "again": lambda pid: [*ckpt, pid, "-c"],
                "remove": lambda pid: [*ckpt, pid, "--remove"]}
        if shutil.which("gdb"):
            ways["gdb"] = lambda pid: ["gdb", "-nx", "-q", "-batch", "-p", pid]
        took = {name: [] for name in ways}
        program = Running([self.programs / "threads", count, "idle"], directory)
        program.line(program.out)

        def report():
            os.kill(program.pid, signal.SIGUSR1)
            began, ended = (int(word) for word in program.line(program.out)[0].split())
            return began, ended

        try:
            for _ in range(repeat):
                for name, words in ways.items():
                    time.sleep(0.02)
                    report()    # what was before does not count
                    begin = now()
                    done = subprocess.run([str(word) for word in words(program.pid)], cwd=directory,
                                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
                    end = now()
                    if done.returncode != 0:
                        raise Broken(f"{name}: status {done.returncode}: {done.stderr}")
                    time.sleep(0.01)    # until whoever watches has looked again
                    stopped, again = report()
                    if begin < again and stopped < end:
                        took[name].append(again - stopped)
        finally:
            program.kill()
            program.wait()
        return {name: median(values) / 1e6 for name, values in took.items() if values}

    # --- size --------------------------------------------------------------------------------

    def size(self, argv, directory):
        image = directory / "size.ckpt"
        _, _, memory = self.freeze(argv, directory, image, look=look_at_memory)
        result = {"image": image.stat().st_size, **memory, "restarter": restarter_size(image)}
        image.unlink()
        return result


def restarter_size(image):
    """Bytes before the metadata: the loaded segments of the ELF program at the head of the image."""
    with open(image, "rb") as file:
        head = file.read(PAGE)
    phoff = int.from_bytes(head[32:40], "little")
    each = int.from_bytes(head[54:56], "little")
    end = 0
    for i in range(int.from_bytes(head[56:58], "little")):
        entry = head[phoff + i * each:phoff + (i + 1) * each]
        if int.from_bytes(entry[0:4], "little") == 1:
            end = max(end, int.from_bytes(entry[8:16], "little")
                      + int.from_bytes(entry[32:40], "little"))
    return -(-end // PAGE) * PAGE


def look_at_memory(pid):
    """Bytes in pages that are resident and not all zero, and in all pages that can be read and are
    not all zero: the difference is what the program has mapped of files but not touched."""
    os.kill(pid, signal.SIGSTOP)
    zero = bytes(PAGE)
    resident = readable = 0
    try:
        maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
        with open(f"/proc/{pid}/pagemap", "rb") as pagemap, \
                open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
            for line in maps.splitlines():
                if re.search(r"\[(vvar|vsyscall)", line):
                    continue
                begin, end = (int(word, 16) for word in line.split()[0].split("-"))
                pagemap.seek(begin // PAGE * 8)
                entries = pagemap.read((end - begin) // PAGE * 8)
                here = [entry >> 62 for entry in memoryview(entries).cast("Q")]
                anonymous = line.split()[4] == "0"
                for at in range(begin, end, MIB):
                    span = min(MIB, end - at)
                    flags = here[(at - begin) // PAGE:(at - begin + span) // PAGE]
                    if anonymous and not any(flags):
                        continue
                    try:
                        memory.seek(at)
                        data = memory.read(span)
                    except OSError:
                        continue
                    for i in range(0, len(data) - PAGE + 1, PAGE):
                        if data[i:i + PAGE] != zero:
                            readable += PAGE
                            resident += PAGE if flags[i // PAGE] else 0
    finally:
        os.kill(pid, signal.SIGCONT)
    return {"resident": resident, "readable": readable}


# --- tables ------------------------------------------------------------------------------------

class Report:
    def __init__(self):
        self.parts = []

    def text(self, words):
        self.parts.append(words)
        print(words + "\n", flush=True)

    def table(self, head, rows):
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]

        def line(row):
            cells = [row[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
            return "| " + " | ".join(cells) + " |"
        rule = "|" + "|".join("-" * (w + 1) + ("-" if i == 0 else ":")
                              for i, w in enumerate(widths)) + "|"
        self.text("\n".join([line(head), rule, *map(line, rows)]))


def shown_size(size):
    return f"{size >> 30} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


def parse_size(word):
    units = {"K": 10, "M": 20, "G": 30}
    return int(word[:-1]) << units[word[-1].upper()] if word[-1].upper() in units else int(word)


def file_system(path):
    best = ("", "?")
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind = line.split()[:3]
        if (str(path) + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    memory = int(re.search(r"MemTotal:\s*(\d+)", pathlib.Path("/proc/meminfo").read_text())[1])
    thp = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")
    mode = re.search(r"\[(\w+)\]", thp.read_text())[1] if thp.exists() else "none"
    return (f"Linux {platform.release()}, {os.cpu_count()} × {cpu[1] if cpu else '?'}, "
            f"{memory / MIB:.0f} GiB of memory, transparent huge pages: {mode}. "
            f"{datetime.date.today()}.")


def peers(report):
    missing = [name for name in ("dmtcp_launch", "criu") if not shutil.which(name)]
    if missing:
        report.text("Not installed and so not compared: " + ", ".join(missing) + ".")
    return [name for name in ("dmtcp_launch", "criu") if name not in missing]


def percent(part, whole):
    return f"{100 * part / whole:.0f} %"


def run(options, report):
    bench = Bench(options)
    report.text(machine())
    report.text("Medians, from one run of bench/bench.py; bench/README.md says what was measured. "
                "What is compared alternates, the page cache is warm. A percentage is the speed of "
                "ckpt in relation to the column it names.")
    places = []
    for where in options.where:
        directory = pathlib.Path(tempfile.mkdtemp(prefix="ckpt-bench-", dir=where))
        places.append((file_system(directory.resolve()), directory))
    try:
        for kind, directory in places:
            rows = []
            for size in options.sizes:
                free = shutil.disk_usage(directory).free
                if free < 3 * size:
                    report.text(f"{shown_size(size)} on {kind}: left out, the disk is too full.")
                    continue
                repeat = bench.repeat if size < 2 << 30 else max(3, bench.repeat // 2)
                print(f"… {shown_size(size)} on {kind}", file=sys.stderr)
                t = bench.big(size, directory, repeat)
                rows.append([shown_size(size), f"{t['write']:.3f} s", f"{t['checkpoint']:.3f} s",
                             percent(t["write"], t["checkpoint"]), f"{t['ended']:.3f} s",
                             f"{t['read']:.3f} s", f"{t['copy']:.3f} s", f"{t['restart']:.3f} s",
                             percent(t["read"], t["restart"]), percent(t["copy"], t["restart"])])
            report.text(f"### Large programs, {kind}")
            report.table(["memory", "raw write", "checkpoint", "speed of raw", "until ended",
                          "raw read", "read + memcpy", "restart", "speed of read",
                          "speed of read + memcpy"], rows)

        python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
        script = ("import os\np = os.fstat(1).st_ino\nos.write(1, b'ready\\n')\n"
                  "while os.fstat(1).st_ino == p: pass\nos.write(1, b'again\\n')\n")
        programs = [("hello in C", [bench.programs / "hello"]),
                    ("python3", [python, "-I", "-S", "-c", script])]
        rows = []
        for name, argv in programs:
            for kind, directory in places:
                print(f"… {name} on {kind}", file=sys.stderr)
                t = bench.small(argv, directory, options.small_repeat)
                rows.append([f"{name}, {kind}", f"{t['write']:.2f} ms", f"{t['checkpoint']:.2f} ms",
                             f"{t['bare']:.2f} ms", f"{t['restart']:.2f} ms"])
        report.text("### Small programs")
        report.table(["program", "raw write of its image", "checkpoint (signal to exit)",
                      "plain start", "restart (exec to output)"], rows)

        rows, alone = [], {}
        for kind in ("idle", "busy"):
            for count in options.threads:
                print(f"… {count} threads, {kind}", file=sys.stderr)
                t = bench.threads(count, kind, places[-1][1], options.repeat)
                alone.setdefault(kind, t)
                rows.append([f"{count}, {kind}", f"{t['frozen']:.2f} ms", f"{t['pause']:.2f} ms",
                             f"{t['restart']:.2f} ms",
                             *(f"{t[name] / max(alone[kind][name], 0.01):.1f}"
                               for name in ("frozen", "pause", "restart"))])
        report.text(f"### Threads, 16 MiB, {places[-1][0]}")
        first = options.threads[0]
        report.table(["threads", "signal to all frozen", "pause (with -c)", "restart",
                      f"frozen / {first}", f"pause / {first}", f"restart / {first}"], rows)

        rows = []
        for count in options.standstill:
            print(f"… {count} threads, standing still", file=sys.stderr)
            t = bench.standstill(count, places[-1][1], 5 * options.repeat)
            shown = {name: f"{value:.2f} ms" for name, value in t.items()}
            rows.append([str(count), *(shown.get(name, "not installed") for name in
                                       ("hold", "inject", "again", "remove", "gdb"))])
        report.text("### Standing still while ckpt -p comes")
        report.table(["threads", "stopped and let go", "ckpt -p", "ckpt -p again", "ckpt -p --remove",
                      "gdb attached and detached"], rows)

        print("… starting", file=sys.stderr)
        t = bench.start_up(places[0][1], options.loops)
        report.text("### Start")
        report.table(["program", "start to end"],
                     [["true", f"{t['bare']:.2f} ms"], ["ckpt true", f"{t['ckpt']:.2f} ms"],
                      ["what ckpt adds", f"{t['ckpt'] - t['bare']:.2f} ms"]])

        rows = []
        for name, argv in [*programs, ("16 MiB", [bench.programs / "resident", 16 * MIB]),
                           ("256 MiB", [bench.programs / "resident", 256 * MIB])]:
            print(f"… size of {name}", file=sys.stderr)
            s = bench.size(argv, places[0][1])
            rows.append([name, f"{s['image']:,}", f"{s['resident']:,}", f"{s['readable']:,}",
                         f"{s['restarter']:,}",
                         f"{100 * s['image'] / (s['resident'] + s['restarter']) - 100:+.2f} %",
                         f"{100 * s['image'] / (s['readable'] + s['restarter']) - 100:+.2f} %"])
        report.text("### Size of the image, in bytes")
        report.table(["program", "image", "resident, not zero", "mapped, not zero", "restarter",
                      "over resident", "over mapped"], rows)
        peers(report)
    finally:
        for _, directory in places:
            shutil.rmtree(directory, ignore_errors=True)


def main():
    made = argparse.ArgumentParser(description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--prefix", type=pathlib.Path, default=ROOT / "build/release/stage-bench",
                      help="where ckpt is installed")
    made.add_argument("--programs", type=pathlib.Path, default=ROOT / "build/release/bench/programs",
                      help="where raw_io, resident, threads and hello were built")
    made.add_argument("--sizes", default="16M,256M,1G,4G",
                      type=lambda text: [parse_size(word) for word in text.split(",")])
    made.add_argument("--threads", default="1,32,256,1000",
                      type=lambda text: [int(word) for word in text.split(",")])
    made.add_argument("--standstill", default="1,256",
                      type=lambda text: [int(word) for word in text.split(",")],
                      help="with how many threads ckpt -p is measured")
    made.add_argument("--where", action="append", help="a directory on the file system to use")
    made.add_argument("--repeat", type=int, default=5)
    made.add_argument("--small-repeat", type=int, default=25)
    made.add_argument("--loops", type=int, default=200)
    made.add_argument("--write", type=pathlib.Path, help="a Markdown file to put the result in")
    options = made.parse_args()
    options.where = options.where or ["/var/tmp", "/dev/shm"]
    options.prefix = options.prefix.resolve()
    options.programs = options.programs.resolve()
    os.closerange(3, 1024)  # a pipe inherited from whoever started this would be in every image
    report = Report()
    try:
        run(options, report)
    except Broken as reason:
        print(f"bench: {reason}", file=sys.stderr)
        return 1
    if options.write:
        options.write.write_text("<!-- Written by bench/bench.py --write. -->\n# Figures\n\n"
                                 + "\n\n".join(report.parts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
