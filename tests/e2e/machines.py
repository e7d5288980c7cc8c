#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An image on another machine, as far as one machine can play it: a kernel with another vDSO, a processor
that has less, libraries and program files that were upgraded or are gone, another host name, a directory
that is not there; and programs that were told to keep to a level of processors."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time

import harness

LEVELS = {
    "x86-64-v2": {"cx16", "lahf_lm", "popcnt", "sse3", "sse4_1", "sse4_2", "ssse3"},
}
LEVELS["x86-64-v3"] = LEVELS["x86-64-v2"] | {
    "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"}
LEVELS["x86-64-v4"] = LEVELS["x86-64-v3"] | {
    "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
COMPONENTS = {"x86-64-v2": 0x3, "x86-64-v3": 0x7, "x86-64-v4": 0xe7}


def expect(what, got, wanted):
    if got != wanted:
        raise harness.Failure(f"{what}: {got!r}, wanted {wanted!r}")


def edit(session, kind):
    """The session's image as another machine would have made it; gives what the editor says."""
    tool = session.setup.victim("edit_image", session.cwd)
    out = session.cwd / "edited"
    status, said, err = session.setup.run([tool, kind, session.IMAGE, out], session.cwd)
    if status != 0:
        raise harness.Failure(f"cannot edit the image: {err!r}")
    os.replace(out, session.image)
    return said.strip()


def record(setup, image, name):
    done = subprocess.run([setup.readckpt, "--json", image], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    expect(f"readckpt --json: {done.stderr}", done.returncode, 0)
    return json.loads(done.stdout)["records"][name]


# --- another kernel's vDSO -----------------------------------------------------------------------


def vdso_of(session):
    """Addresses of [vdso] in the program."""
    maps = harness.read_proc(session.process.program(), "maps")
    found = re.search(r"^([0-9a-f]+)-([0-9a-f]+) .*\[vdso\]$", maps, re.M)
    return found and (int(found[1], 16), int(found[2], 16))


def other_vdso(setup, victim, rounds):
    """Frozen at any moment, most of them inside the vDSO; from the second round on a program that
    knows one vDSO and runs on another."""
    if not (setup.victims / victim).exists():
        raise harness.Skip(f"no {victim}")
    session = harness.Session(setup)
    session.start(session.victim(victim))
    first = vdso_of(session)
    for _ in range(rounds):
        time.sleep(setup.random.uniform(0, 0.02))
        session.checkpoint()
        edit(session, "other-vdso")
        session.restart()
        expect("the program's vDSO is the kernel's", vdso_of(session) == first, False)
    time.sleep(0.05)
    session.end()


def vdso_of_python(setup):
    """Addresses that libc looked up at the start, in a program that sleeps between its calls: of the
    old vDSO no instruction is left."""
    session = harness.Session(setup)
    session.start(session.script(
        "a = time.time(), time.monotonic()\nready()\nwait()\n"
        "b = time.time(), time.monotonic()\ntime.sleep(0.01)\n"
        "c = time.time(), time.monotonic()\n"
        "print('ok' if all(0 <= y - x < 600 for x, y in zip(a, b)) and c[0] - b[0] >= 0.01 "
        "and c[1] - b[1] >= 0.01 else (a, b, c))\n"))
    session.checkpoint()
    edit(session, "hollow-vdso")
    session.restart()
    session.end()


# --- a processor that has less -------------------------------------------------------------------


def less_processor(setup):
    session = harness.Session(setup)
    session.start(session.victim("everything"))
    session.checkpoint()
    kept = session.image.read_bytes()
    files = {name: (session.cwd / name).read_bytes() for name in ("log", "guarded")}
    for kind in ("one-more-extension", "more-registers"):
        session.image.write_bytes(kept)
        name = edit(session, kind)
        words = ("this processor lacks", rf"\b{name}\b")
        session.refused(kind, *words)
        session.refused(kind, *words, via=setup.restart)
        status, out, err = setup.run([setup.readckpt, session.IMAGE], session.cwd)
        if status != 0 or not re.search(rf"^not here +this processor lacks .*\b{name}\b", out, re.M):
            raise harness.Failure(f"readckpt: {status} {err!r} {out[:1500]!r}")
        status, out, err = setup.run([setup.ckpt, "--doctor", session.IMAGE], session.cwd)
        if status != 1 or not re.search(rf"this processor lacks .*\b{name}\b", out):
            raise harness.Failure(f"--doctor: {status} {err!r} {out!r}")
        for path, content in files.items():
            expect(path, (session.cwd / path).read_bytes(), content)
    session.image.write_bytes(kept)
    status, out, _ = setup.run([setup.readckpt, session.IMAGE], session.cwd)
    if "not here" in out:
        raise harness.Failure("readckpt: its own machine is not here")
    session.restart()
    session.end()


# --- files that are other ones --------------------------------------------------------------------


CHANGES = ("gone", "empty", "cut in place", "another")


def change(path, how, other):
    """What an upgrade, or a careless one, makes of a file."""
    if how == "cut in place":
        os.truncate(path, 0)
        return
    path.unlink()
    if how == "empty":
        path.touch()
    elif how == "another":
        shutil.copy(other, path)


def program_changed(setup):
    """The image has all of the program that was mapped."""
    for how in CHANGES:
        session = harness.Session(setup)
        program, stop = session.victim("everything")
        session.start([program, stop])
        session.checkpoint()
        change(program, how, "/bin/true")
        session.restart()
        session.end(what=how)


def library_upgraded(setup):
    """What is open goes on; what is opened afterwards is what is there then."""
    here = pathlib.Path("/usr/lib/x86_64-linux-gnu")
    old, new = (next(iter(sorted(here.glob(name))), None) for name in ("libz.so.1", "libbz2.so.1.0"))
    if not old or not new:
        raise harness.Skip("no two libraries to try with")
    for how in CHANGES:
        library_changed(setup, how, old, new)


def library_changed(setup, how, old, new):
    session = harness.Session(setup)
    shutil.copy(old, session.cwd / "lib.so")
    (session.cwd / "script.py").write_text(harness.PRELUDE + """
import ctypes
old = ctypes.CDLL("./lib.so")
old.zlibVersion.restype = ctypes.c_char_p
version = old.zlibVersion()
ready()
wait()
new = ctypes.CDLL("./lib.so.2")
new.BZ2_bzlibVersion.restype = ctypes.c_char_p
crc = old.crc32(0, b"123456789", 9) & 0xffffffff
good = old.zlibVersion() == version and crc == 0xcbf43926 and new.BZ2_bzlibVersion()
os.write(1, b"ok\\n" if good else b"lost\\n")
""")
    setup.give(session.cwd)
    session.start(["/usr/bin/python3", "-I", "-S", "script.py"])
    session.checkpoint()
    # Before: ld.so knows what it has loaded by its inode, and a new file may get that of one that is gone.
    shutil.copy(new, session.cwd / "lib.so.2")
    change(session.cwd / "lib.so", how, new)
    setup.give(session.cwd)
    session.restart()
    session.end(what=how)


# --- another host --------------------------------------------------------------------------------


def other_host(setup):
    session = harness.Session(setup)
    session.start(session.script(
        "before = os.uname().nodename\nready()\nwait()\n"
        "os.write(1, f'{before} {os.uname().nodename}\\nok\\n'.encode())\n"))
    here = os.uname().nodename
    session.checkpoint()
    edit(session, "other-host")
    expect("its host", record(setup, session.image, "host")[0]["node"], "elsewhere")
    session.restart()
    session.end(output=f"ready\n{here} {here}\nok\n".encode())
    if os.geteuid() != 0 or setup.drops:
        return
    session.go_on()
    session.output = b"ready\n"
    process = setup.start(["unshare", "--uts", "sh", "-c",
                           f"hostname else.where && exec ./{session.IMAGE}"], session.cwd)
    process.wait_armed()
    session.process = process
    session.end(output=f"ready\n{here} else.where\nok\n".encode())


def no_directory(setup):
    session = harness.Session(setup)
    (session.cwd / "inner").mkdir()
    setup.give(session.cwd)
    session.start(["sh", "-c", "cd inner; echo ready; while ! test -e ../stop; do :; done; echo ok"])
    session.checkpoint()
    (session.cwd / "inner").rmdir()
    session.refused("no directory", "working directory", "inner")
    (session.cwd / "inner").mkdir()
    setup.give(session.cwd)
    session.restart()
    session.end()


# --- programs that keep to a level -----------------------------------------------------------------


def style_of(code):
    """By which registers a function copies."""
    if re.search(rb"\x62[\xe1\xf1][\x7e\x7f\xfe\xff]\x48[\x6f\x7f]", code):
        return 4
    if re.search(rb"\x62[\xe1\xf1][\x7e\x7f\xfe\xff]\x28[\x6f\x7f]", code):
        return 4
    if re.search(rb"\xc5[\xfe\xfc\xff][\x6f\x10]", code):
        return 3
    return 2


def report_of(session):
    """What the program says that glibc has chosen."""
    found = dict(line.split(" ", 1) for line in session.process.out.seen().decode().splitlines()
                 if " " in line)
    return found, style_of(bytes.fromhex(found["memcpy"]))


def level_of_machine():
    flags = set(re.search(r"^flags\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[1].split())
    flags |= {"sse3"} if "pni" in flags else set()
    flags |= {"lzcnt"} if "abm" in flags else set()
    best = 1
    for number, (name, wanted) in enumerate(LEVELS.items(), 2):
        if wanted <= flags:
            best = number
    return best


def capped(setup):
    for level, by_option in (("x86-64-v2", True), ("x86-64-v3", False), ("x86-64-v4", True), ("v2", False)):
        session = harness.Session(setup)
        name = level if "-" in level else f"x86-64-{level}"
        words = [f"--cpu={level}"] if by_option else []
        env = {} if by_option else {"CKPT_CPU": level}
        session.start(session.victim("cpu_choice"), *words, env=env)
        found, style = report_of(session)
        number = int(name[-1])
        if style > number or style < min(number, level_of_machine()):
            raise harness.Failure(f"{level}: memcpy is of v{style}: {found['memcpy']}")
        for feature, least in (("SSE4_2", 2), ("AVX2", 3), ("BMI2", 3), ("AVX512F", 4), ("AVX512VL", 4)):
            wanted = str(int(least <= min(number, level_of_machine())))
            expect(f"{level}: {feature}", found.get(feature, wanted), wanted)
        environment = harness.read_proc(session.process.pid, "environ").split("\0")
        if "LD_BIND_NOW=1" not in environment or any("_CKPT" in each for each in environment):
            raise harness.Failure(f"{level}: environment {environment}")
        session.checkpoint()
        cpu = record(setup, session.image, "cpu")[0]
        beyond = set(cpu["extensions"]) - LEVELS[name]
        if beyond or int(cpu["components"], 16) & ~COMPONENTS[name]:
            raise harness.Failure(f"{level}: the image needs {beyond} {cpu['components']}")
        if level_of_machine() >= number:
            expect(level, set(cpu["extensions"]), LEVELS[name])
        session.restart()
        # And the image that a restarted program makes.
        session.checkpoint()
        expect(level, record(setup, session.image, "cpu")[0], cpu)
        session.restart()
        session.output = b""
        session.end(output=b"ok\n")


def uncapped(setup):
    """Without it the image needs what this processor has."""
    session = harness.Session(setup)
    session.start(session.victim("cpu_choice"))
    found, style = report_of(session)
    expect("memcpy", style, max(2, level_of_machine()))
    session.checkpoint()
    wanted = LEVELS.get(f"x86-64-v{level_of_machine()}", set())
    if not wanted <= set(record(setup, session.image, "cpu")[0]["extensions"]):
        raise harness.Failure("the image says that it needs less than its program may use")


def tunables(setup):
    """What the user has in GLIBC_TUNABLES stays, and the program's children have the same."""
    session = harness.Session(setup)
    for users, wanted in (
            ("glibc.malloc.arena_max=1", r"glibc.malloc.arena_max=1:glibc.cpu.hwcaps=-AVX,.*"),
            ("glibc.cpu.hwcaps=-ERMS:glibc.malloc.perturb=7",
             r"glibc.cpu.hwcaps=-ERMS,-AVX,[^:]*:glibc.malloc.perturb=7"),
            ("", r"glibc.cpu.hwcaps=-AVX,[^:]*")):
        status, out, err = setup.run([setup.ckpt, "--cpu=x86-64-v2", "sh", "-c", "env; true"], session.cwd,
                                     env={"GLIBC_TUNABLES": users, "LD_BIND_NOW": ""})
        found = re.search(r"^GLIBC_TUNABLES=(.*)$", out, re.M)
        if (status, err) != (0, "") or not found or not re.fullmatch(wanted, found[1]):
            raise harness.Failure(f"{users}: {status} {err!r} {found and found[1]}")
    status, out, _ = setup.run([setup.ckpt, "sh", "-c", "env; true"], session.cwd)
    if status != 0 or "GLIBC_TUNABLES" in out or "LD_BIND_NOW" in out:
        raise harness.Failure(f"without --cpu: {out!r}")


def bad_levels(setup):
    session = harness.Session(setup)
    for bad in ("x86-64-v5", "v1", "haswell", ""):
        done = setup.run([setup.ckpt, f"--cpu={bad}", "true"], session.cwd)
        harness.expect_refusal(f"--cpu={bad}", *done, "--cpu", "means nothing", "x86-64-v2")
    status, out, err = setup.run([setup.ckpt, "true"], session.cwd, env={"CKPT_CPU": "fast"})
    expect("CKPT_CPU=fast", (status, out), (0, ""))
    harness.expect_line("CKPT_CPU=fast", err, "CKPT_CPU=.?fast", "means nothing and is ignored", "x86-64-v3")
    status, out, err = setup.run(["true"], session.cwd,
                                 env={"CKPT_CPU": "x86-64-v2", "LD_PRELOAD": str(setup.library)})
    expect("without the command", (status, out), (0, ""))
    harness.expect_line("without the command", err, "CKPT_CPU", "without the ckpt command", "ignored")
    process = session.start(session.victim("tick", "600"), "-c")
    status, out, err = setup.run([setup.ckpt, "--cpu=x86-64-v2", "-p", process.pid], session.cwd)
    harness.expect_refusal("-p", status, out, err, "--cpu", "one that runs", status_wanted=2)


def body(setup):
    print(f"seed {setup.seed}")
    setup.random.seed(setup.seed)
    rounds = 40 if setup.options.full else 3
    cases = [(f"another vDSO, {victim}",
              lambda victim=victim: other_vdso(setup, victim, rounds))
             for victim in ("vdso_calls", "threads_vdso", "musl_threads_static")]
    cases += [(case.__name__.replace("_", " "), lambda case=case: case(setup)) for case in (
        vdso_of_python, less_processor, program_changed, library_upgraded, other_host,
        no_directory, capped, uncapped, tunables, bad_levels)]
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true")
    sys.exit(harness.main(made, body))
