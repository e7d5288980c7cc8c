#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What readckpt makes of real images: backtraces, core files and lines for gdb, pictures, differences,
pieces, JSON that keeps its schema, and what terminals, pipes and damaged images get."""

import json
import os
import pathlib
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import xml.etree.ElementTree

import harness

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "support/known_stacks.c"
ROOT = pathlib.Path(__file__).resolve().parents[2]
FRAMES = {"main": ["wait_here", "middle_of_main", "main"],
          "thread": ["wait_here", "inner_of_thread", "thread_body"]}
COMMANDS = ["info", "segments", "fds", "threads", "state", "map", "verify", "gdb", "extract",
            "cmdline", "environ"]


def fail_unless(condition, what):
    if not condition:
        raise harness.Failure(what)


class Images:
    """Programs and their images, each made once."""

    def __init__(self, setup):
        self.setup = setup
        self.made = {}
        if shutil.which("gcc") is None:
            raise harness.Skip("gcc is not installed")

    def program(self, name, directory):
        flags = {"pie": ["-pie", "-fPIE"], "fixed": ["-no-pie"], "static": ["-static"],
                 "stripped": ["-pie", "-fPIE", "-s"]}[name]
        program = directory / f"known-{name}"
        subprocess.run(["gcc", "-g", "-O1", "-pthread", *flags, "-o", program, SOURCE], check=True)
        self.setup.give(directory)
        return program

    def session(self, name):
        """A session with its image, made once for each kind of program."""
        if name not in self.made:
            session = harness.Session(self.setup, f"known-{name}")
            program = self.program(name, session.cwd)
            session.start([program])
            session.checkpoint()
            self.made[name] = session
        return self.made[name]

    def image(self, name="pie"):
        return self.session(name).image

    def read(self, *words, status=0, name="pie", **more):
        session = self.session(name)
        got, out, err = self.setup.run([self.setup.readckpt, *words], session.cwd, **more)
        if got != status:
            raise harness.Failure(f"readckpt {words}: status {got}, not {status}; {err!r}")
        if status == 0 and err:
            raise harness.Failure(f"readckpt {words}: stderr {err!r}")
        return out if status == 0 else err

    def read_json(self, *words, **more):
        return json.loads(self.read("--json", *words, **more))


def speaking(session, *words):
    """A restart, up to when all its threads are where they were."""
    process = session.restart(*words)
    (session.cwd / "speak").touch()
    session.setup.give(session.cwd)
    process.wait_output(b"here\n")
    return process


# ---------------------------------------------------------------------------------------------
# backtraces


def has_frames(frames, wanted):
    """Whether the names stand in this order, others between them or not."""
    rest = iter(frames)
    return all(any(name == one for one in rest) for name in wanted)


def check_traces(document, wanted, label):
    traces = [[frame["function"] for frame in trace["frames"]]
              for trace in document["backtraces"]]
    fail_unless(len(traces) == 3, f"{label}: {len(traces)} backtraces")
    for kind, count in (("main", 1), ("thread", 2)):
        found = sum(has_frames(trace, wanted[kind]) for trace in traces)
        fail_unless(found == count, f"{label}: {found} backtraces of {kind}: {traces}")


def needs_libdw(images):
    text = images.read("threads", images.image())
    if "built without libdw" in text:
        raise harness.Skip("readckpt is built without libdw")


def backtraces(images, name):
    needs_libdw(images)
    document = images.read_json("threads", images.image(name), name=name)
    check_traces(document, FRAMES, name)
    sources = [frame["source"] or "" for trace in document["backtraces"]
               for frame in trace["frames"]]
    fail_unless(any(re.search(r"known_stacks\.c:\d+$", text) for text in sources),
                f"{name}: no line of the source: {sources}")
    text = images.read("threads", images.image(name), name=name)
    for word in ("rip", "fs base", "middle_of_main+0x", "known_stacks.c:"):
        fail_unless(word in text, f"{name}: no {word} in {text}")


def backtrace_of_stripped(images):
    """Without symbols .eh_frame still tells who has called whom; the file may be gone as well."""
    needs_libdw(images)
    session = images.session("stripped")
    for step in ("there", "gone"):
        document = images.read_json("threads", session.image, name="stripped")
        for trace in document["backtraces"]:
            own = [frame for frame in trace["frames"]
                   if (frame["module"] or "").endswith("known-stripped")]
            fail_unless(len(own) >= 3 and not any(frame["function"] == "wait_here" for frame in own),
                        f"{step}: {trace}")
        text = images.read("threads", session.image, name="stripped")
        fail_unless("no symbols (known-stripped+0x" in text, f"{step}: {text}")
        if step == "there":
            (session.cwd / "known-stripped").rename(session.cwd / "elsewhere")
    fail_unless("known-stripped is gone" in text, text)
    (session.cwd / "elsewhere").rename(session.cwd / "known-stripped")


def changed_file(images):
    """Another program under the same name: its symbols would be wrong, and it is said."""
    needs_libdw(images)
    session = images.session("pie")
    program, kept = session.cwd / "known-pie", session.cwd / "kept"
    program.rename(kept)
    try:
        shutil.copy("/bin/true", program)
        text = images.read("threads", session.image)
        fail_unless(re.search(r"known-pie has changed since \(the image has build id [0-9a-f]{40}\)",
                              text), text)
        fail_unless("middle_of_main" not in text, text)
        lines = images.read("gdb", session.image)
        fail_unless(re.search(r"^# left out: .*known-pie at 0x\w+: the file has changed since", lines,
                              re.M), lines)
        module = [m for m in images.read_json("gdb", session.image)["modules"] if m["program"]]
        fail_unless(len(module) == 1 and module[0]["file"] == "changed" and
                    module[0]["command"] is None and
                    module[0]["build_id"] != module[0]["file_build_id"], str(module))
    finally:
        kept.replace(program)


# ---------------------------------------------------------------------------------------------
# gdb


def gdb(setup, cwd, *words, user=True):
    if shutil.which("gdb") is None:
        raise harness.Skip("gdb is not installed")
    status, out, err = setup.run(["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off",
                                  *words], cwd, timeout=120)
    return out, err


def traces_of_gdb(text):
    """Function names by thread, from `thread apply all bt`."""
    found = re.split(r"^Thread \d+ ", text, flags=re.M)[1:]
    return [re.findall(r"^#\d+\s+(?:0x[0-9a-f]+ in )?([\w.]+) \(", each, re.M) for each in found]


def check_gdb(text, label):
    traces = traces_of_gdb(text)
    fail_unless(len(traces) == 3, f"{label}: {len(traces)} threads in {text}")
    for kind, count in (("main", 1), ("thread", 2)):
        found = sum(has_frames(trace, FRAMES[kind]) for trace in traces)
        fail_unless(found == count, f"{label}: {found} backtraces of {kind} in {text}")
    for word in ("= 4711", "words on the heap"):
        fail_unless(word in text, f"{label}: no {word} in {text}")


ASK = ["-ex", "print known_answer", "-ex", "print on_the_heap", "-ex", "thread apply all bt"]


def core(images, name):
    session = images.session(name)
    out = session.cwd / "core.out"
    images.read("core", session.image, out, name=name)
    fail_unless(out.stat().st_mode & 0o777 == 0o600, f"mode {out.stat().st_mode:o}")
    more = []
    if name == "static":
        # What the loader has not brought gdb does not find by itself: the agent's library.
        (session.cwd / "static.gdb").write_text(images.read("gdb", session.image, name=name))
        images.setup.give(session.cwd)
        more = ["-x", "static.gdb"]
    text, err = gdb(images.setup, session.cwd, session.cwd / f"known-{name}", out, *more, *ASK,
                    "-ex", "info auxv", "-ex", "info proc mappings", "-ex", "print $xmm0",
                    "-ex", "print $ymm15", "-ex", "p $_siginfo.si_signo")
    check_gdb(text, f"core of {name}")
    for word in ("AT_PHDR", "known-" + name, "v4_float", "v8_float"):
        fail_unless(word in text, f"no {word} in {text} {err}")
    fail_unless("warning" not in (text + err).lower().replace("section .reg-xstate", "warning"),
                text + err)
    # Holes take no room: the stacks of the threads alone have 16 MiB.
    about = out.stat()
    fail_unless(about.st_blocks * 512 < about.st_size // 2,
                f"{about.st_blocks * 512} of {about.st_size} bytes are on the disk")
    document = images.read_json("core", session.image, out, name=name)
    fail_unless(document["threads"] == 3 and document["size"] == about.st_size, str(document))
    # Through a pipe there are no holes, but the same bytes.
    piped = subprocess.run([images.setup.readckpt, "core", session.image], capture_output=True)
    fail_unless(piped.returncode == 0 and piped.stdout == out.read_bytes(), "a pipe gets another core")
    out.unlink()


def notes_of_core(images):
    """What must be there for each thread, and its registers, as readckpt itself tells them."""
    session = images.session("pie")
    out = session.cwd / "core.notes"
    images.read("core", session.image, out)
    content = out.read_bytes()
    offset, count = struct.unpack_from("<Q", content, 32)[0], struct.unpack_from("<H", content, 56)[0]
    found = []
    for i in range(count):
        kind, _, at, _, _, size = struct.unpack_from("<IIQQQQ", content, offset + 56 * i)
        if kind != 4:
            continue
        end = at + size
        while at < end:
            name_size, size, note = struct.unpack_from("<III", content, at)
            begin = at + 12 + (name_size + 3) // 4 * 4
            found.append((note, content[begin:begin + size]))
            at = begin + (size + 3) // 4 * 4
    threads = images.read_json("threads", session.image)["records"]["thread"]
    for note, wanted in ((1, 3), (2, 3), (0x202, 3), (0x53494749, 3), (3, 1), (6, 1), (0x46494c45, 1)):
        got = sum(1 for each, _ in found if each == note)
        fail_unless(got == wanted, f"{got} notes of type {note:x}, not {wanted}")
    status = [raw for note, raw in found if note == 1]
    for raw, thread in zip(status, threads):
        tid = struct.unpack_from("<i", raw, 32)[0]
        rip = struct.unpack_from("<Q", raw, 112 + 16 * 8)[0]
        fail_unless(tid == thread["tid"] and rip == int(thread["rip"], 16),
                    f"{tid} {rip:x} instead of {thread}")
    out.unlink()


def gdb_of_restarted(images, name, way):
    session = images.session(name)
    lines = images.read("gdb", session.image, name=name)
    fail_unless(f"add-symbol-file {session.cwd}/known-{name} -o 0x" in lines, lines)
    if name != "static":
        fail_unless(re.search(r"^add-symbol-file /\S*libc\.so\.6 -o 0x", lines, re.M), lines)
    (session.cwd / "symbols.gdb").write_text(lines)
    images.setup.give(session.cwd)
    session.go_on()
    process = speaking(session, f"--identity={way}")
    try:
        text, err = gdb(images.setup, session.cwd, "-p", str(process.program()), "-x", "symbols.gdb",
                        *ASK)
        if "ptrace: Operation not permitted" in text + err:
            raise harness.Skip("ptrace is not permitted")
        check_gdb(text, f"gdb -p, {name}, {way}: {err}")
    finally:
        session.stop()
    status = process.wait()
    fail_unless(status == 0 and b"ok" in process.out.all(), f"status {status} after gdb")
    session.go_on()


# ---------------------------------------------------------------------------------------------
# differences, pictures, pieces


def second_image(images):
    """The same program, a little later."""
    session = images.session("pie")
    other = session.cwd / "later.ckpt"
    if not other.exists():
        first = session.cwd / "first.ckpt"
        shutil.copy2(session.image, first)
        session.go_on()
        process = speaking(session)
        process.signal(harness.TRIGGER)
        status = process.wait()
        fail_unless(status == 0, f"the second checkpoint: {status} {process.stderr()!r}")
        session.image.rename(other)
        first.rename(session.image)
        images.setup.give(session.cwd)
    return other


def differences(images):
    other = second_image(images)
    image = images.image()
    nothing = images.read("diff", image, image)
    fail_unless("no difference" in nothing, nothing)
    none = images.read_json("diff", image, image)
    fail_unless(none["pages"]["changed"] == 0 and none["pages"]["compared"] > 100 and
                not none["threads"] and not none["descriptors"] and not none["state"], str(none)[:500])
    both = images.read_json("diff", image, other)
    check_schema(both)
    pages = both["pages"]
    fail_unless(0 < pages["changed"] < pages["compared"] / 2, str(pages))
    runs = [run for m in both["mappings"] for run in m["different_pages"]]
    fail_unless(sum(run[1] for run in runs) == sum(pages[k] for k in ("changed", "appeared", "vanished")),
                f"{runs} {pages}")
    generation = [d for c in both["state"] if c["record"] == "process" for d in c["differences"]
                  if d["field"] == "generation"]
    fail_unless(generation and generation[0]["b"] == generation[0]["a"] + 1, str(both["state"])[:800])
    text = images.read("diff", image, other)
    for word in ("pages compared", "seconds later", "generation", "mappings ("):
        fail_unless(word in text, f"no {word} in {text}")
    table = text.partition("mappings (")[2].partition("\n\n")[0]
    fail_unless("the same bytes without the file" in text and "  0 changed" not in table,
                f"what a restart makes of every file hides the rest: {text}")
    fail_unless("\x1b" not in text, "colour in a pipe")
    fail_unless("\x1b[" in images.read("--color", "diff", image, other), "no colour that was asked for")


def compared_by_hand(images):
    """Two images of the same moment but for one byte: that page is what differs."""
    image = images.image()
    segments = images.read_json("segments", image)["records"]
    heap = next(s for s in segments["segment"] if s["name"] == "[heap]")
    extent = next(e for t in segments["extents"] if t["object"] == 0 for e in t["extents"]
                  if int(e["address"], 16) == int(heap["address"], 16))
    header = images.read_json("info", image)["header"]
    copy = image.with_name("one-byte.ckpt")
    content = bytearray(image.read_bytes())
    at = header["data_offset"] + extent["data"] + 100
    content[at] ^= 0xff
    copy.write_bytes(content)
    images.setup.give(copy.parent)
    err = images.read("diff", image, copy, status=1)
    fail_unless(re.fullmatch(r"readckpt: \S*one-byte\.ckpt: block \d+ of the data is damaged "
                             r"\(checksum mismatch\)\n", err), err)
    copy.unlink()


def pictures(images):
    image = images.image()
    svg = images.read("map", image)
    root = xml.etree.ElementTree.fromstring(svg)
    fail_unless(root.tag == "{http://www.w3.org/2000/svg}svg", root.tag)
    for word in ("[heap]", "[stack]", "libc.so.6", "known-pie", "program", "of nothing"):
        fail_unless(word in svg, f"no {word} in the picture")
    document = images.read_json("map", image)
    kinds = {m["kind"] for m in document["mappings"]}
    fail_unless({"program", "file", "heap", "stack", "anonymous", "kernel"} <= kinds, str(kinds))
    text = images.read("map", "--format=text", image)
    fail_unless("[heap]" in text and "|" in text and "gap" in text, text)
    directory = image.parent
    for name in ("a.svg", "a.html", "b.svg", "b.html"):
        words = ["map", image] if name[0] == "a" else ["diff", image, second_image(images)]
        fail_unless(images.read(*words, "-o", name) == "", f"{name}: something on standard output")
        content = (directory / name).read_text()
        fail_unless("<svg" in content and ("<!DOCTYPE html>" in content) == name.endswith("html"),
                    f"{name}: {content[:200]}")
        (directory / name).unlink()


def pieces(images):
    image = images.image()
    listed = images.read_json("extract", image)["pieces"]
    gone = [p for p in listed if p["descriptor"] is not None]
    fail_unless(len(gone) == 1 and gone[0]["size"] == 34, str(listed)[:500])
    wanted = b"contents of a file without a name\n"
    for what in (f"fd:{gone[0]['descriptor']}", gone[0]["what"], gone[0]["name"]):
        out = image.with_name("piece")
        images.read("extract", image, what, out)
        fail_unless(out.read_bytes() == wanted, f"{what}: {out.read_bytes()!r}")
        fail_unless(images.read("extract", image, what) == wanted.decode(), f"{what} through a pipe")
    # A segment, byte by byte as dump has it.
    images.read("extract", image, "[heap]", image.with_name("heap"))
    heap = image.with_name("heap").read_bytes()
    fail_unless(b"words on the heap\0" in heap, "the heap lacks the words")
    segment = next(s for s in images.read_json("segments", image)["records"]["segment"]
                   if s["name"] == "[heap]")
    address = int(segment["address"], 16)
    fail_unless(len(heap) == segment["length"], f"{len(heap)} bytes")
    at = heap.index(b"words on the heap")
    dumped = images.read_json("dump", image, f"{address + at:x}:17")
    fail_unless(bytes.fromhex(dumped["bytes"]) == b"words on the heap", str(dumped))
    fail_unless(images.read("extract", image, f"{address + at:x}-{address + at + 17:x}") ==
                "words on the heap", "a range of addresses")
    for what, words in (("fd:99", "there is no descriptor 99"), ("nobody", "is called nobody"),
                        ("object:9", "there is no object:9"), ("fd:1", "only its name"),
                        ("1000", "is not mapped"), ("[vvar]", "kernel's data page")):
        err = images.read("extract", image, what, status=1)
        fail_unless(re.fullmatch(rf"readckpt: \S*image\.ckpt: .*{words}.*\n", err),
                    f"{what}: {err!r}")


# ---------------------------------------------------------------------------------------------
# JSON


def check_schema(document):
    try:
        import jsonschema
    except ImportError:
        raise harness.Skip("python3-jsonschema is not installed") from None
    schema = json.loads((ROOT / "docs/readckpt.schema.json").read_text())
    one = {"$schema": schema["$schema"], "$defs": schema["$defs"],
           "$ref": f"#/$defs/{document['command']}"}
    try:
        jsonschema.Draft202012Validator(one).validate(document)
    except jsonschema.ValidationError as error:
        raise harness.Failure(f"{document['command']}: {'/'.join(map(str, error.path))}: "
                              f"{error.message[:300]}") from None


def fields_of_format():
    """The names of the fields of each structure, from docs/FORMAT.md."""
    tables, name = {}, None
    for line in (ROOT / "docs/FORMAT.md").read_text().splitlines():
        if line.startswith("### "):
            name = line[4:]
            tables[name] = set()
        found = re.match(r"\| \d+ \| \d+ \| [^|]+ \| `(\w+)` \|", line)
        if found and name:
            tables[name].add(found[1])
    return tables


def schemas(images):
    image = images.image()
    tables = fields_of_format()
    for command in COMMANDS:
        document = images.read_json(command, image)
        fail_unless(document["command"] == command and document["image"] == str(image),
                    f"{command}: {str(document)[:200]}")
        check_schema(document)
        for record, each in document.get("records", {}).items():
            for one in each:
                fields = set(one) - {"bytes", "name", "path", "words", "text", "entries", "extents",
                                     "version"}
                fail_unless(fields <= tables[record], f"{record}: {fields - tables[record]}")
    check_schema(images.read_json("diff", image, image))
    check_schema(images.read_json("dump", image, "%s:64" % images.read_json(
        "segments", image)["records"]["segment"][0]["address"]))
    out = image.with_name("schema.core")
    check_schema(images.read_json("core", image, out))
    check_schema(images.read_json("extract", image, "[heap]", out))
    out.unlink()
    # A wrong document is seen as one.
    try:
        check_schema({"command": "cmdline", "image": "x", "words": [1]})
    except harness.Failure:
        return
    raise harness.Failure("the schema allows numbers for words")


# ---------------------------------------------------------------------------------------------
# terminals and pipes


def at_terminal(images, *words, env=None, seconds=60):
    """Runs readckpt with a terminal as its output: what appears on it, and the status."""
    leader, follower = pty.openpty()
    session = images.session("pie")
    given = {"TERM": "xterm-256color", "PAGER": "cat"}
    given.update(env or {})
    process = images.setup.start([images.setup.readckpt, *words], session.cwd, stdout=follower,
                                 stderr=follower, env=given)
    os.close(follower)
    seen = bytearray()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            piece = os.read(leader, 65536)
        except OSError:
            break
        if not piece:
            break
        seen += piece
    os.close(leader)
    return process.wait(), seen.decode(errors="replace")


def terminals(images):
    image = images.image()
    status, text = at_terminal(images, "segments", image)
    fail_unless(status == 0 and "\x1b[1m" in text, f"no colour at a terminal: {status} {text[:300]!r}")
    for env in ({"NO_COLOR": "1"}, {"TERM": "dumb"}):
        status, text = at_terminal(images, "segments", image, env=env)
        fail_unless(status == 0 and "\x1b" not in text, f"{env}: {text[:300]!r}")
    status, text = at_terminal(images, "--color=never", "segments", image)
    fail_unless("\x1b" not in text, "--color=never")
    status, text = at_terminal(images, "--color=always", "segments", image, env={"NO_COLOR": "1"})
    fail_unless("\x1b[1m" in text, "--color=always and NO_COLOR")
    status, text = at_terminal(images, "segments", image, env={"NO_COLOR": ""})
    fail_unless("\x1b[1m" in text, "an empty NO_COLOR is none")
    # The pager gets what is for people, and nothing else starts it.
    paged = {"PAGER": "sed s/^/PAGED:/"}
    status, text = at_terminal(images, "segments", image, env=paged)
    fail_unless(status == 0 and "PAGED:" in text, f"PAGER was not used: {text[:300]!r}")
    for words in (["--no-pager", "segments", image], ["no-image"]):
        status, text = at_terminal(images, *words, env=paged)
        fail_unless("PAGED:" not in text, f"{words}: {text[:300]!r}")
    status, text = at_terminal(images, "segments", image, env={"PAGER": "head -n 2"})
    fail_unless(status == 0 and text.count("\n") == 2, f"a pager that quits: {status} {text!r}")
    fail_unless("PAGED:" not in images.read("segments", image, env=paged), "a pager in a pipe")
    # Nothing binary reaches a terminal.
    for words in (["core", image], ["extract", image, "[heap]"]):
        status, text = at_terminal(images, *words)
        fail_unless(status == 2 and "does not write to a terminal" in text, f"{words}: {text!r}")
    status, text = at_terminal(images, "map", image)
    fail_unless(status == 0 and "<svg" not in text and "[heap]" in text, f"map: {text[:300]!r}")


def pipes(images):
    image = images.image()
    wanted = images.read("segments", image)
    for words in (["segments", "-"], ["-"], ["verify", "-"]):
        for way in ("file", "pipe"):
            with open(image, "rb") as given:
                feeder = subprocess.Popen(["cat"], stdin=given, stdout=subprocess.PIPE) \
                    if way == "pipe" else None
                source = feeder.stdout if feeder else given
                status, out, err = images.setup.run([images.setup.readckpt, *words], image.parent,
                                                    stdin=source, env={"TMPDIR": str(image.parent)})
                if feeder:
                    feeder.stdout.close()
                    feeder.wait()
            fail_unless(status == 0 and not err, f"{words} from a {way}: {status} {err!r}")
            if words[0] == "segments":
                fail_unless(out == wanted, f"{words} from a {way} differs")
    for content, reason in ((b"", "not a ckpt image (it is empty)"), (b"x" * 100000, "not a ckpt image"),
                            (image.read_bytes()[:50000], r"cut off: 50000 of \d+ bytes"),
                            (image.read_bytes() + b"xy", r"followed by \d bytes that do not belong to it")):
        feeder = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdout.buffer.write("
                                   "sys.stdin.buffer.read())"], stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        reader = images.setup.start([images.setup.readckpt, "-"], image.parent, stdin=feeder.stdout,
                                    env={"TMPDIR": str(image.parent)})
        feeder.stdout.close()
        try:
            feeder.communicate(content)
        except BrokenPipeError:
            pass
        status, err = reader.wait(), reader.stderr()
        fail_unless(status == 1 and re.fullmatch(rf"readckpt: -: {reason}\n".replace("(it", r"\(it").replace(
            "y)", r"y\)"), err), f"{reason}: {status} {err!r}")


def output_files(images):
    """A file appears when it is whole, is private, and never in the place of the image."""
    image = images.image()
    err = images.read("core", image, image, status=2)
    fail_unless("would replace the image" in err, err)
    err = images.read("core", image, "no/such/directory", status=1)
    fail_unless(re.fullmatch(r"readckpt: no/such/directory: cannot write it: no such file or directory\n",
                             err), err)
    if os.path.exists("/dev/full"):
        err = images.read("core", image, "/dev/full", status=1)
        fail_unless(re.fullmatch(r"readckpt: /dev/full: cannot write it: .*\n", err), err)
    old = image.with_name("old")
    old.write_text("precious")
    images.setup.give(image.parent)
    cut = image.with_name("cut.ckpt")
    content = bytearray(image.read_bytes())
    # Damage in the first block of the data, which is memory.
    header = images.read_json("info", image)["header"]
    content[header["data_offset"] + 100] ^= 1
    cut.write_bytes(content)
    images.setup.give(image.parent)
    err = images.read("core", cut, old, status=1)
    fail_unless(re.fullmatch(r"readckpt: \S*cut\.ckpt: block \d+ of the data is damaged \(checksum "
                             r"mismatch\)\n", err), err)
    fail_unless(old.read_text() == "precious", "a file was replaced by half of one")
    left = [path.name for path in image.parent.iterdir() if path.name.startswith("old") and path != old]
    fail_unless(not left, f"left behind: {left}")
    # verify says it as a line, and as JSON beside the line.
    err = images.read("verify", cut, status=1)
    fail_unless(len(err.splitlines()) == 1 and "the first is block" in err, err)
    status, out, err = images.setup.run([images.setup.readckpt, "--json", "verify", cut], image.parent)
    document = json.loads(out)
    check_schema(document)
    fail_unless(status == 1 and not document["whole"] and document["damaged_blocks"] == 1 and
                len(err.splitlines()) == 1, f"{status} {document} {err!r}")
    old.unlink()
    cut.unlink()


# ---------------------------------------------------------------------------------------------
# damage and size


def mutated(images):
    """Whatever is done to an image, each command ends with an answer or one line."""
    setup = images.setup
    image = images.image()
    content = image.read_bytes()
    for round_ in range(12):
        made = bytearray(content)
        kind = setup.random.choice(("bit", "cut", "zeros", "splice"))
        at = setup.random.randrange(len(made))
        if kind == "bit":
            made[at] ^= 1 << setup.random.randrange(8)
        elif kind == "cut":
            del made[at:]
        elif kind == "zeros":
            made[at:at + 5000] = bytes(len(made[at:at + 5000]))
        else:
            made[at:at + 3000] = made[:3000]
        bad = image.with_name("bad.ckpt")
        bad.write_bytes(made)
        setup.give(bad.parent)
        for words in (["info"], ["verify"], ["threads"], ["core"], ["gdb"], ["map"],
                      ["--json", "segments"]):
            done = subprocess.run([setup.readckpt, *words, bad], capture_output=True, timeout=120)
            label = f"round {round_}, {kind} at {at}, {words}: status {done.returncode}"
            if done.returncode == 0:
                fail_unless(not done.stderr, f"{label}: {done.stderr[:300]!r}")
                fail_unless(words != ["verify"] or made == content, f"{label}: it is not whole")
            else:
                fail_unless(done.returncode == 1 and len(done.stderr.splitlines()) == 1 and
                            done.stderr.startswith(b"readckpt: "), f"{label}: {done.stderr[:300]!r}")
        bad.unlink()


def huge(images):
    """A reserved TiB costs neither memory nor room."""
    session = harness.Session(images.setup, "huge")
    session.start(session.script("import mmap\n"
                                 "m = mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n"
                                 "m[5 << 30] = 7\nm[900 << 30] = 8\nready()\nwait()\n"))
    session.checkpoint()
    image = session.image
    for words in (["info", image], ["map", image], ["--json", "map", image], ["diff", image, image],
                  ["threads", image], ["core", image]):
        # An address space of 2 GiB, in which no TiB has room.
        limited = ["/bin/bash", "-c", 'ulimit -v 2000000; exec "$@" >out', "bash",
                   images.setup.readckpt, *words]
        status, _, err = images.setup.run(limited, session.cwd, timeout=120)
        fail_unless(status == 0 and not err, f"{words}: {status} {err!r}")
    about = (session.cwd / "out").stat()
    fail_unless(about.st_blocks * 512 < 64 << 20, f"the core takes {about.st_blocks * 512} bytes")


def second_generation(images):
    """Of a program that was restarted no mapping has a name; the loader's list has them."""
    other = second_image(images)
    modules = images.read_json("gdb", other)["modules"]
    paths = [m["path"] or "" for m in modules]
    for name in ("known-pie", "libc.so.6", "ld-linux-x86-64.so.2"):
        fail_unless(any(path.endswith(name) for path in paths), f"no {name} in {paths}")
    if "built without libdw" not in images.read("threads", images.image()):
        check_traces(images.read_json("threads", other), FRAMES, "second generation")


def body(setup):
    images = Images(setup)
    cases = [("second generation", lambda: second_generation(images)),
             ("backtrace of a stripped program", lambda: backtrace_of_stripped(images)),
             ("a file that has changed", lambda: changed_file(images)),
             ("notes of a core", lambda: notes_of_core(images)),
             ("differences", lambda: differences(images)),
             ("a difference in a damaged image", lambda: compared_by_hand(images)),
             ("pictures", lambda: pictures(images)),
             ("pieces", lambda: pieces(images)),
             ("JSON", lambda: schemas(images)),
             ("terminals", lambda: terminals(images)),
             ("pipes", lambda: pipes(images)),
             ("output files", lambda: output_files(images)),
             ("damaged images", lambda: mutated(images)),
             ("a TiB", lambda: huge(images))]
    for name in ("pie", "fixed", "static"):
        cases.append((f"backtraces, {name}", lambda name=name: backtraces(images, name)))
        cases.append((f"core, {name}", lambda name=name: core(images, name)))
    for name, way in (("pie", "keep" if setup.options.user == "root" else "new"),
                      ("static", "new"), ("fixed", "namespace")):
        cases.append((f"gdb -p, {name}, {way}",
                      lambda name=name, way=way: gdb_of_restarted(images, name, way)))
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
