#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""libckpt as those use it who link it: what they type, with the compilers and linkers they have. Each
program that comes of it is frozen and revived without the ckpt command."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
import harness  # noqa: E402

SOURCE = HERE.parent.parent


def tool(name):
    path = shutil.which(name, path="/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
    if not path:
        raise harness.Skip(f"{name} is not installed")
    return path


def run(words, cwd, **more):
    """A command that must succeed: its standard output."""
    done = subprocess.run([str(word) for word in words], cwd=cwd, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        raise harness.Failure(f"{' '.join(map(str, words))}: status {done.returncode}\n"
                              f"{done.stdout[-2000:]}{done.stderr[-3000:]}")
    return done.stdout


def works(words, cwd):
    """Whether this compiler can do that at all, ckpt apart."""
    (cwd / "empty.c").write_text("int main(void) { return 0; }\n")
    done = subprocess.run([*words, "empty.c", "-o", "empty"], cwd=cwd, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    if done.returncode != 0:
        raise harness.Skip(f"{' '.join(words)}: {done.stderr.strip().splitlines()[0]}")


class Linked:
    """One program, linked in a directory of its own."""

    def __init__(self, setup, name="work"):
        self.setup = setup
        self.session = harness.Session(setup, name)
        self.cwd = self.session.cwd
        self.library = setup.library.parent
        self.include = setup.prefix / "include"
        for path in [*HERE.glob("*.c"), *HERE.glob("*.cpp"), HERE / "project/program.c"]:
            shutil.copy(path, self.cwd)

    def build(self, *words, output="program"):
        run([*words, "-o", output], self.cwd)
        self.setup.give(self.cwd)
        return self.cwd / output

    def freezes(self, *argv, env=None, rounds=2, image=None, output=b"ready\nok\n", number=None,
                named=True):
        """Started by itself: trigger, image, restart, and on to its end."""
        session = self.session
        if image:
            session.image = self.cwd / image
            session.IMAGE = image
        argv = argv or ("./program",)
        session.output = b""
        environment = {"CKPT_NAME": session.IMAGE} if named else {}
        session.launch([*argv, "stop"], env=environment | (env or {}))
        for _ in range(rounds):
            session.process.wait_armed() if number is None else None
            session.checkpoint()
            session.restart()
        session.end(output=output)
        session.go_on()


def needed(program, library="libckpt"):
    return library in run(["readelf", "-dW", program], "/")


def symbols(program, *names):
    """Addresses in the file of local or global symbols."""
    found = {}
    for line in run(["nm", program], "/").splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[2] in names:
            found[fields[2]] = int(fields[0], 16)
    if set(found) != set(names):
        raise harness.Failure(f"{program} has no symbol {set(names) - set(found)}")
    return [found[name] for name in names]


# --- the archive -------------------------------------------------------------------------------

LINKERS = {"bfd": "ld.bfd", "gold": "ld.gold", "lld": "ld.lld"}
KINDS = {
    "static": ["-static"],
    "static, optimized and its sections collected":
        ["-static", "-O2", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections"],
    "static, --as-needed": ["-static", "-Wl,--as-needed"],
    "static, stripped": ["-static", "-s"],
    "static-pie": ["-static-pie"],
    "not static": ["-l:libckpt.a"],
}


def archive(setup, linker, flags, form):
    tool(LINKERS[linker])
    linked = Linked(setup)
    words = [tool("gcc"), f"-fuse-ld={linker}"]
    works([*words, *(flag for flag in flags if not flag.startswith("-l"))], linked.cwd)
    library = [f"-L{linked.library}", *(["-lckpt"] if "-l:libckpt.a" not in flags else [])]
    sources = ["surrounded.c", "more.c"]
    program = linked.build(*words, *(sources + library if form == "after" else library + sources),
                           *flags)
    if needed(program):
        raise harness.Failure("it needs libckpt.so")
    linked.freezes()


def with_lto(setup, compiler, *flags):
    linked = Linked(setup)
    words = [tool(compiler), "-flto", "-O2", *flags]
    works(words, linked.cwd)
    linked.build(*words, "-static", "surrounded.c", "more.c", f"-L{linked.library}", "-lckpt")
    linked.freezes()


def cplusplus(setup, compiler, *flags):
    linked = Linked(setup)
    linked.build(tool(compiler), "-std=c++20", "-O1", *flags, "program.cpp", f"-L{linked.library}",
                 "-lckpt", "-pthread", f"-Wl,-rpath,{linked.library}")
    linked.freezes()


def musl(setup, *flags):
    linked = Linked(setup)
    linked.build(tool("musl-gcc"), *flags, "surrounded.c", "more.c", f"-L{linked.library}", "-lckpt",
                 f"-Wl,-rpath,{linked.library}")
    linked.freezes()


def by_path(setup):
    """The script finds its archive beside itself, in whatever directory the linker is started."""
    for linker in LINKERS:
        tool(LINKERS[linker])
        linked = Linked(setup)
        linked.build(tool("gcc"), f"-fuse-ld={linker}", "-static", "surrounded.c", "more.c",
                     linked.library / "libckpt.a")
        linked.freezes(rounds=1)


def from_a_copy(setup):
    """With the two files beside the source, as -L. has it."""
    linked = Linked(setup)
    for name in ("libckpt.a", "libckpt-agent.a"):
        shutil.copy(linked.library / name, linked.cwd)
    linked.build(tool("gcc"), "-static", "-L.", "-lckpt", "surrounded.c", "more.c")
    linked.freezes(rounds=1)


def course(setup, linker):
    """gcc -static -L. -lckpt -Wl,-u,capture_signal -o hello hello.c, with no variable set: SIGUSR2
    writes myckpt, and the program goes on."""
    tool(LINKERS[linker])
    linked = Linked(setup)
    for name in ("libckpt.a", "libckpt-agent.a"):
        shutil.copy(linked.library / name, linked.cwd)
    linked.build(tool("gcc"), f"-fuse-ld={linker}", "-static", "-L.", "-lckpt",
                 "-Wl,-u,capture_signal", "surrounded.c", "more.c", output="hello")
    process = setup.start(["./hello", "stop"], linked.cwd)
    process.wait_output(b"ready\n")
    image = linked.cwd / "myckpt"
    for _ in range(3):
        before = harness.identity(image)
        process.signal(signal.SIGUSR2)
        process.wait_until(lambda: harness.identity(image) != before, "a new myckpt", 30)
    harness.check_image(setup, image)
    process.kill()
    (linked.cwd / "stop").touch()
    got = setup.run([setup.restart, "myckpt"], linked.cwd)
    if got != (0, "ok\n", ""):
        raise harness.Failure(f"from myckpt: {got}")
    # Variables, where there are some, say something else.
    (linked.cwd / "stop").unlink()
    process = setup.start(["./hello", "stop"], linked.cwd,
                          env={"CKPT_NAME": "other", "CKPT_ASYNCSIG": "USR1", "CKPT_CONTINUE": "0"})
    process.wait_output(b"ready\n")
    process.signal(signal.SIGUSR1)
    if process.wait() != 0 or process.stderr():
        raise harness.Failure(f"with variables: {process.status}, {process.stderr()!r}")
    harness.check_image(setup, linked.cwd / "other")


def own_capture_signal(setup):
    """A program may have a function of that name; it keeps it."""
    linked = Linked(setup)
    (linked.cwd / "own.c").write_text(
        "#include <stdio.h>\nint capture_signal(void) { return 11; }\n"
        "int main(void) { printf(\"%d\\n\", capture_signal()); return 0; }\n")
    linked.build(tool("gcc"), "-static", f"-L{linked.library}", "-lckpt", "-Wl,-u,capture_signal",
                 "own.c")
    got = setup.run(["./program"], linked.cwd)
    if got != (0, "11\n", ""):
        raise harness.Failure(f"{got}")


def keeps_its_libc(setup):
    """What the agent has of a libc's names is its own: the program's are the libc's."""
    linked = Linked(setup)
    program = linked.build(tool("gcc"), "-static", "surrounded.c", "more.c", f"-L{linked.library}",
                           "-lckpt")
    bare = linked.build(tool("gcc"), "-static", "surrounded.c", "more.c", output="bare")

    def names(path):
        return {tuple(line.split()[-2:]) for line in run(["nm", "-g", path], "/").splitlines()}

    added = sorted(name for _, name in names(program) - names(bare) if not name.startswith("ckpt_"))
    if added:
        raise harness.Failure(f"names in the program that are not its own: {added[:20]}")


def scratch(setup, *flags):
    """The image has what lies on either side of the agent's working memory, and nothing of that."""
    linked = Linked(setup)
    program = linked.build(tool("gcc"), *flags, "surrounded.c", f"-L{linked.library}", "-l:libckpt.a",
                           "more.c")
    begin, end, before, after, main = symbols(program, "agent_scratch", "agent_scratch_end", "before",
                                              "after", "main")
    if not (before < begin and end <= after or after < begin and end <= before):
        raise harness.Failure(f"the agent's memory at {begin:x} is not between the program's, "
                              f"{before:x} and {after:x}")
    linked.freezes(rounds=1)
    session = linked.session
    session.output = b""
    session.launch(["./program", "stop"], env={"CKPT_NAME": session.IMAGE, "CKPT_CONTINUE": "1"})
    base = 0
    if main < 0x400000:
        base = min(int(line.split("-")[0], 16)
                   for line in harness.read_proc(session.process.pid, "maps").splitlines()
                   if line.endswith("/program"))
    before_it = harness.identity(session.image)
    session.process.signal(harness.TRIGGER)
    session.process.wait_until(lambda: harness.identity(session.image) != before_it, "an image", 30)
    tool_built = list_image(setup)
    listed = run([tool_built, session.image], "/")
    extents = [(int(b, 16), int(e, 16)) for b, e in re.findall(r"^extent (\S+) (\S+)$", listed, re.M)]

    def saved(address):
        return any(b <= base + address < e for b, e in extents)

    inside = [a for a in range(begin, end, 4096) if saved(a)]
    outside = [a for name in (before, after) for a in range(name, name + 100003, 4096) if not saved(a)]
    if inside or outside or begin % 4096 or end % 4096:
        raise harness.Failure(f"in the image of the agent's memory: {[hex(a) for a in inside]}; not "
                              f"in it: {[hex(a) for a in outside]}")
    session.end()


# --- the library -------------------------------------------------------------------------------

def shared(setup, words, flags=(), keeps=True):
    linked = Linked(setup)
    program = linked.build(tool(words[0]), *words[1:], "surrounded.c", "more.c", f"-L{linked.library}",
                           *flags, f"-Wl,-rpath,{linked.library}")
    if needed(program) != keeps:
        raise harness.Failure(f"it {'needs' if not keeps else 'does not need'} libckpt.so")
    if keeps:
        linked.freezes()


def as_needed(setup, linker):
    """What a linker that drops what nobody needs does to each way of asking."""
    tool(LINKERS[linker])
    linked = Linked(setup)
    words = [tool("gcc"), f"-fuse-ld={linker}", "-Wl,--as-needed", f"-I{linked.include}", "program.c"]
    plain = [f"-L{linked.library}", "-lckpt"]
    asked = {
        "-lckpt and the header": ([*plain], False),
        "CKPT_REQUIRED": (["-DCKPT_REQUIRED", *plain], True),
        "pkg-config": (pkg_config(linked), True),
    }
    for label, (more, wanted) in asked.items():
        program = linked.build(*words, *more, "-lm")
        if needed(program) != wanted:
            raise harness.Failure(f"{label}: libckpt.so is {'dropped' if wanted else 'kept'}")


def pkg_config(linked, *flags):
    environment = {"PATH": "/usr/bin:/bin", "PKG_CONFIG_PATH": str(linked.library / "pkgconfig")}
    return run([tool("pkg-config"), *flags, "--cflags", "--libs", "ckpt"], "/",
               env=environment).split()


def through_pkg_config(setup, static):
    linked = Linked(setup)
    flags = pkg_config(linked, *(["--static"] if static else []))
    linked.build(tool("gcc"), *(["-static"] if static else []), "program.c", *flags, "-lm",
                 *([] if static else [f"-Wl,-rpath,{linked.library}"]))
    linked.freezes(output=b"present 1\nready\nok\n")


def at_run_time(setup):
    """dlopen(3), and dlclose(3), after which the trigger must still have its handler."""
    linked = Linked(setup)
    (linked.cwd / "open.py").write_text(harness.PRELUDE + f"""
import _ctypes, ctypes
library = ctypes.CDLL({str(linked.library / 'libckpt.so')!r})
_ctypes.dlclose(library._handle)
ready()
wait()
os.write(1, b"ok\\n")
""")
    setup.give(linked.cwd)
    session = linked.session
    session.launch(["/usr/bin/python3", "-I", "-S", "open.py"], env={"CKPT_NAME": session.IMAGE})
    for _ in range(2):
        session.process.wait_armed()
        session.checkpoint()
        session.restart()
    session.end()


# --- two agents in one program --------------------------------------------------------------------

def one_image(setup, linked, argv, signal_number=harness.TRIGGER, env=None):
    """The program is frozen once by one signal, by whichever agent it has, as its options say."""
    session = linked.session
    session.output = b""
    session.launch([*argv, "stop"], env=env)
    for _ in range(3):
        process = session.process
        before = harness.identity(session.image)
        process.signal(signal_number)
        status = process.wait(30)
        session.output += process.out.all()
        if status != 0 or process.stderr() or harness.identity(session.image) == before:
            raise harness.Failure(f"{argv}: status {status}, {process.stderr()!r}, image "
                                  f"{session.image.exists()}")
        harness.check_image(setup, session.image)
        images = [name for name in os.listdir(linked.cwd)
                  if name.endswith(".ckpt") and name != session.IMAGE]
        if images:
            raise harness.Failure(f"{argv}: another image beside it: {images}")
        session.process = setup.start([f"./{session.IMAGE}"], linked.cwd)
        session.process.wait_until(lambda: session.process.catches(signal_number), "it is armed", 30)
    session.end()
    session.image.unlink()
    session.go_on()


def under_the_command(setup, *flags, compiler="gcc"):
    """The command's options reach the agent that the program has, and no other comes."""
    linked = Linked(setup)
    linked.build(tool(compiler), *flags, "surrounded.c", "more.c", f"-L{linked.library}",
                 *(["-l:libckpt.a"] if "-lckpt" not in flags else []),
                 f"-Wl,-rpath,{linked.library}")
    one_image(setup, linked, [setup.ckpt, "-n", "image.ckpt", "-a", "USR1", "./program"],
              signal.SIGUSR1)
    linked.session.launch([setup.ckpt, "./program", "stop"])
    mapped = {line.split()[-1] for line in
              harness.read_proc(linked.session.process.pid, "maps").splitlines()
              if line.endswith("libckpt.so")}
    wanted = 1 if "-lckpt" in flags else 0
    if len(mapped) != wanted:
        raise harness.Failure(f"mapped under ckpt: {mapped}")
    linked.session.process.kill()


def user_preload(setup):
    """A static program has no use for LD_PRELOAD, and sees it as the user set it, from its first
    constructor on."""
    linked = Linked(setup)
    (linked.cwd / "show.c").write_text(
        "#include <stdio.h>\n#include <string.h>\nextern char** environ;\n"
        "__attribute__((constructor)) static void show(void) {\n"
        "  for (char** e = environ; *e; ++e)\n"
        "    if (!strncmp(*e, \"LD_\", 3) || !strncmp(*e, \"_CKPT\", 5)) puts(*e);\n}\n"
        "int main(void) { return 0; }\n")
    linked.build(tool("gcc"), "-static", "show.c", f"-L{linked.library}", "-lckpt")
    for env, wanted in (({}, ""), ({"LD_PRELOAD": ""}, "LD_PRELOAD=\n"),
                        ({"LD_PRELOAD": "/nowhere.so"}, "LD_PRELOAD=/nowhere.so\n")):
        got = setup.run([setup.ckpt, "./program"], linked.cwd, env=env)
        if got[:2] != (0, wanted):
            raise harness.Failure(f"LD_PRELOAD {env}: {got}")


def preloaded_as_well(setup, *flags):
    """LD_PRELOAD brings the library into a program that has the agent within."""
    linked = Linked(setup)
    linked.build(tool("gcc"), *flags, "surrounded.c", "more.c", f"-L{linked.library}", "-l:libckpt.a")
    environment = {"LD_PRELOAD": str(linked.library / "libckpt.so"), "CKPT_NAME": "image.ckpt"}
    one_image(setup, linked, ["./program"], env=environment)
    process = linked.session.launch(["./program", "stop"],
                                    env=environment | {"CKPT_MSPERIOD": "3600000"})
    clocks = harness.read_proc(process.pid, "timers").count("signal:")
    if clocks != 1:
        raise harness.Failure(f"{clocks} clocks tick")
    process.kill()


def second_copy(setup):
    """Another copy of the library is opened in a program under ckpt: the options stay, one image comes
    of one signal, and the clock ticks once."""
    linked = Linked(setup)
    shutil.copy(linked.library / "libckpt.so", linked.cwd / "copy.so")
    (linked.cwd / "second.py").write_text(harness.PRELUDE + """
import ctypes
ctypes.CDLL(os.getcwd() + "/copy.so")
ready()
wait()
timers = open("/proc/self/timers").read().count("signal:")
os.write(1, b"timers %d\\nok\\n" % timers)
""")
    setup.give(linked.cwd)
    session = linked.session
    for options, number, timers in ((["-a", "USR1"], signal.SIGUSR1, 0),
                                    (["-z", "3600000"], harness.TRIGGER, 1),
                                    (["-a", "0", "-z", "3600000", "-v"], None, 1)):
        session.output = b""
        session.launch([setup.ckpt, "-n", session.IMAGE, *options, "/usr/bin/python3", "-I", "-S",
                        "second.py"], env={"CKPT_NAME": "of_the_environment.ckpt"})
        if session.process.catches(harness.TRIGGER) != (number == harness.TRIGGER):
            raise harness.Failure(f"{options}: the copy has a trigger of its own, or none")
        if number is not None:
            for _ in range(2):
                session.process.signal(number)
                if session.process.wait(30) != 0 or session.process.stderr():
                    raise harness.Failure(f"{options}: {session.process.status} "
                                          f"{session.process.stderr()!r}")
                session.output += session.process.out.all()
                session.process = setup.start([f"./{session.IMAGE}"], linked.cwd)
                session.process.wait_until(lambda: session.process.catches(number), "it is armed", 30)
        session.end(output=b"ready\ntimers %d\nok\n" % timers)
        session.go_on()


def calls(setup, flags, command=(), env=None):
    """The functions of ckpt.h reach the agent that has the options, whoever else is there."""
    linked = Linked(setup)
    env = {key: str(value) for key, value in (env or {}).items()}
    linked.build(tool("gcc"), f"-I{linked.include}", "calls.c", f"-L{linked.library}", *flags,
                 f"-Wl,-rpath,{linked.library}")
    got = setup.run([*command, "./program"], linked.cwd, env=env)
    if got != (0, "", ""):
        raise harness.Failure(f"asked to end: {got}")
    harness.check_image(setup, linked.cwd / "called.ckpt")
    got = setup.run(["./called.ckpt"], linked.cwd)
    if got != (0, "0 1 1 \n", ""):
        raise harness.Failure(f"from the image: {got}")
    # An option, or a variable, of whoever starts it.
    env = env if command else env | {"CKPT_CONTINUE": "1"}
    got = setup.run([*command, *(["-c"] if command else []), "./program"], linked.cwd, env=env)
    if got != (0, "0 0 0 \n", ""):
        raise harness.Failure(f"asked to go on: {got}")


def call_cases(setup):
    library = setup.library
    static = ["-static", "-lckpt"]
    within = ["-l:libckpt.a"]
    dynamic = ["-Wl,--no-as-needed", "-lckpt"]
    ways = {"static": static, "the agent within": within, "libckpt.so": dynamic}
    for name, flags in ways.items():
        yield f"calls, {name}", lambda flags=flags: calls(setup, flags)
        yield f"calls, {name}, under ckpt", lambda flags=flags: calls(setup, flags, [setup.ckpt])
    yield "calls, the agent within, preloaded as well", \
        lambda: calls(setup, within, env={"LD_PRELOAD": library})
    yield "calls, libckpt.so, preloaded as well", \
        lambda: calls(setup, dynamic, env={"LD_PRELOAD": library})


# --- the stub -----------------------------------------------------------------------------------

def stub(setup, compiler):
    """Every function of the header is there and does nothing, for a program that must have it."""
    linked = Linked(setup)
    names = public_names(linked)
    calls = "\n".join(f"  if ((void*)ckpt_{name} == 0) return 1;" for name in names)
    (linked.cwd / "all.c").write_text(f"""#define CKPT_REQUIRED
#include <ckpt.h>
#include <string.h>
static int called;
static void f(void* p) {{ (void)p; called = 1; }}
int main(void) {{
  unsigned char id[16];
  char text[4] = "abc";
  struct ckptconfig c;
  memset(&c, 0, sizeof c);
{calls}
  ckpt_on_preckpt(f, 0); ckpt_on_postckpt(f, 0); ckpt_on_restart(f, 0);
  ckpt_config(&c, &c); ckpt_restart("nowhere");
  return called || ckpt_present() || *ckpt_version() || ckpt_ckpt(0) || ckpt_restarted() ||
         ckpt_generation() || ckpt_instance(id) || ckpt_error(text, 4) || *text || ckpt_hold() ||
         ckpt_release() || ckpt_region(id, 16, CKPT_REGION_ZERO) || ckpt_fds() != 0;
}}
""")
    (linked.cwd / "by_hand.c").write_text(
        "extern int ckpt_ckpt(char* name);\nint main(void) { return ckpt_ckpt(\"x\"); }\n")
    for source in ("all.c", "by_hand.c"):
        linked.build(tool(compiler), f"-I{linked.include}", source, f"-L{linked.library}",
                     "-lckpt-stub")
        got = setup.run(["./program"], linked.cwd)
        if got != (0, "", ""):
            raise harness.Failure(f"{source}: {got}")


def public_names(linked):
    """The functions that the header declares."""
    text = (linked.include / "ckpt.h").read_text()
    names = re.findall(r"^CKPT_DECLARE\([^,]*,\s*(\w+),", text, re.M)
    names += re.findall(r"^CKPT_DECLARE_VOID\((\w+),", text, re.M)
    if len(names) < 16:
        raise harness.Failure(f"found only {names} in ckpt.h")
    return sorted(names)


def same_names(setup):
    """Header, library, archive and stub agree about what there is."""
    linked = Linked(setup)
    wanted = {f"ckpt_{name}" for name in public_names(linked)}
    own = {"ckpt_agent", "ckpt_agent_course", "capture_signal"}     # of the archive's making
    for file, flag, more in (("libckpt.so", "-D", set()), ("libckpt-agent.a", "-g", own),
                             ("libckpt-stub.a", "-g", set())):
        found = set()
        for line in run(["nm", flag, "--defined-only", linked.library / file], "/").splitlines():
            fields = line.split()
            if len(fields) == 3:
                found.add(fields[2])
        if found - more != wanted:
            raise harness.Failure(f"{file}: has {sorted(found - more - wanted)} beside the header's, "
                                  f"lacks {sorted(wanted - found)}")
        undefined = {line.split()[-1] for line in
                     run(["nm", "-u", *(["-D"] if flag == "-D" else []), linked.library / file],
                         "/").splitlines() if len(line.split()) == 2}
        if undefined - {"malloc", "free", "_GLOBAL_OFFSET_TABLE_"} - own:
            raise harness.Failure(f"{file}: needs {sorted(undefined)}")


# --- a project of somebody else's -----------------------------------------------------------------

def installed(setup):
    """An installation that has been moved since."""
    place = setup.scratch / "moved/elsewhere"
    if not place.exists():
        shutil.copytree(setup.prefix, place)
        if setup.drops:
            for path in [setup.scratch / "moved", place, *place.rglob("*")]:
                os.chmod(path, path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return place


def list_image(setup):
    """project/list_image, built once."""
    return project(setup, "gcc") / "list_image"


BUILT = {}


def project(setup, compiler, *flags):
    key = (compiler, *flags)
    if key in BUILT:
        return BUILT[key]
    cplus = {"gcc": "g++", "clang": "clang++"}[compiler]
    place = setup.scratch / f"project-{len(BUILT)}"
    shutil.copytree(HERE / "project", place / "source")
    run([tool("cmake"), "-S", place / "source", "-B", place / "build",
         f"-DCMAKE_PREFIX_PATH={installed(setup)}", f"-DCMAKE_C_COMPILER={tool(compiler)}",
         f"-DCMAKE_CXX_COMPILER={tool(cplus)}", "-DCMAKE_BUILD_TYPE=Release", *flags], place)
    run([tool("cmake"), "--build", place / "build"], place)
    for path in [place, *place.rglob("*")]:
        os.chmod(path, path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    BUILT[key] = place / "build"
    return BUILT[key]


def finds_it(setup, compiler, *flags):
    build = project(setup, compiler, *flags)
    tools = (build / "list_image").exists()
    if tools:
        got = setup.run([build / "list_image_within", "/bin/true"], setup.directory("work"))
        if got != (1, "", "list_image: not a ckpt image\n"):
            raise harness.Failure(f"list_image_within: {got}")
    for name, present in (("shared", 1), ("static", 1), ("within", 1), ("stub", 0), ("without", 0)):
        linked = Linked(setup)
        shutil.copy(build / f"program_{name}", linked.cwd / "program")
        setup.give(linked.cwd)
        output = b"present %d\nready\nok\n" % present
        if present:
            linked.freezes(output=output)
        else:
            (linked.cwd / "stop").touch()
            got = setup.run(["./program", "stop"], linked.cwd)
            if got != (0, output.decode(), ""):
                raise harness.Failure(f"program_{name}: {got}")
        # It lists what has become of it.
        if present and tools:
            listed = run([build / "list_image", linked.session.image], "/")
            if (not re.search(r"^records [1-9]\d", listed) or "\nsegment " not in listed or
                    "\nextent " not in listed or f"program {linked.cwd}/program" not in listed):
                raise harness.Failure(f"list_image: {listed[:500]}")
            refuses_damaged(setup, build / "list_image", linked)


def refuses_damaged(setup, tool_built, linked):
    contents = bytearray(linked.session.image.read_bytes())
    header = json.loads(run([setup.readckpt, "--json", linked.session.image], "/"))["header"]
    contents[header["metadata_offset"] + header["metadata_size"] // 2] ^= 1
    damaged = linked.cwd / "damaged"
    damaged.write_bytes(contents)
    status, out, err = setup.run([tool_built, damaged], linked.cwd)
    if (status, out) != (1, "") or "damaged" not in err:
        raise harness.Failure(f"list_image of a damaged image: {status} {out[:200]!r} {err!r}")


def wrong_version(setup):
    place = setup.directory("version")
    (place / "CMakeLists.txt").write_text("cmake_minimum_required(VERSION 3.16)\nproject(x C)\n"
                                          "find_package(ckpt 9 REQUIRED)\n")
    done = subprocess.run([tool("cmake"), "-S", place, "-B", place / "b",
                           f"-DCMAKE_PREFIX_PATH={installed(setup)}"], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=120)
    if done.returncode == 0 or "version" not in done.stderr:
        raise harness.Failure(f"asked for version 9: {done.returncode} {done.stderr[-500:]}")


def without_boost(setup):
    """Only the core needs it, and whoever asks for the core is told so."""
    for component, wanted in (("", True), ("COMPONENTS core", False), ("COMPONENTS nothing", False)):
        place = setup.directory("no_boost")
        (place / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(x C)\n"
            f"find_package(ckpt REQUIRED {component})\nif(TARGET ckpt::core)\n"
            "message(FATAL_ERROR \"a core\")\nendif()\nget_target_property(x ckpt::ckpt TYPE)\n")
        done = subprocess.run([tool("cmake"), "-S", place, "-B", place / "b",
                               f"-DCMAKE_PREFIX_PATH={installed(setup)}",
                               "-DCMAKE_DISABLE_FIND_PACKAGE_Boost=ON"], capture_output=True,
                              text=True, stdin=subprocess.DEVNULL, timeout=120)
        said = "libboost-dev" in done.stdout + done.stderr
        if (done.returncode == 0) != wanted or not said:
            raise harness.Failure(f"{component!r}: {done.returncode} {done.stdout}{done.stderr}")


def in_c_only(setup):
    """A project without C++ that asks for no component."""
    place = setup.directory("only_c")
    shutil.copy(HERE / "project/program.c", place)
    (place / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16)\nproject(x C)\nfind_package(ckpt REQUIRED)\n"
        "add_executable(a program.c)\ntarget_link_libraries(a ckpt::ckpt m)\n"
        "add_executable(b program.c)\ntarget_link_libraries(b ckpt::static m -static)\n"
        "add_executable(c program.c)\ntarget_link_libraries(c ckpt::stub m)\n")
    run([tool("cmake"), "-S", place, "-B", place / "b", f"-DCMAKE_PREFIX_PATH={installed(setup)}"],
        place)
    run([tool("cmake"), "--build", place / "b"], place)


def headers_alone(setup, compiler):
    """Every header of the core compiles by itself from where it is installed, with all warnings."""
    place = setup.directory("headers")
    include = installed(setup) / "include"
    headers = sorted(path.relative_to(include) for path in include.rglob("*.hpp"))
    if len(headers) < 50:
        raise harness.Failure(f"only {len(headers)} headers are installed")
    source = place / "all.cpp"
    source.write_text("".join(f'#include "{header}"\n' for header in headers) + "int main() {}\n")
    run([tool(compiler), "-std=c++20", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}",
         "-fsyntax-only", source], place)


def archive_cases(setup):
    for linker in LINKERS:
        for kind, flags in KINDS.items():
            for form in ("after", "before"):
                yield f"archive, {linker}, {kind}, {form} the sources", \
                    lambda linker=linker, flags=flags, form=form: archive(setup, linker, flags, form)
        yield f"the course's line, {linker}", lambda linker=linker: course(setup, linker)


def body(setup):
    part = setup.options.part
    # Nothing that is built here runs, so one user is enough.
    built_only = [
        ("a project in C", lambda: in_c_only(setup)),
        ("without Boost", lambda: without_boost(setup)),
        ("another version", lambda: wrong_version(setup)),
        ("the headers, g++", lambda: headers_alone(setup, "g++")),
        ("the headers, clang++", lambda: headers_alone(setup, "clang++")),
    ]
    cases = {"archive": [
        *archive_cases(setup),
        ("archive, by its path", lambda: by_path(setup)),
        ("archive, from a copy", lambda: from_a_copy(setup)),
        ("archive, gcc -flto", lambda: with_lto(setup, "gcc")),
        ("archive, clang -flto", lambda: with_lto(setup, "clang", "-fuse-ld=lld")),
        ("archive, C++", lambda: cplusplus(setup, "g++", "-static")),
        ("archive, C++ and clang", lambda: cplusplus(setup, "clang++", "-static")),
        ("archive, musl", lambda: musl(setup, "-static")),
        ("a capture_signal of its own", lambda: own_capture_signal(setup)),
        ("it keeps its libc", lambda: keeps_its_libc(setup)),
        ("working memory, static", lambda: scratch(setup, "-static", "-no-pie")),
        ("working memory, static-pie", lambda: scratch(setup, "-static-pie")),
    ], "shared": [
        ("cc -lckpt", lambda: shared(setup, ["gcc"], ["-Wl,--no-as-needed", "-lckpt"])),
        ("clang -lckpt", lambda: shared(setup, ["clang"], ["-Wl,--no-as-needed", "-lckpt"])),
        ("tcc -lckpt", lambda: shared(setup, ["tcc"], ["-lckpt"])),
        ("musl-gcc -lckpt", lambda: musl(setup)),
        ("C++ -lckpt", lambda: cplusplus(setup, "g++", "-Wl,--no-as-needed")),
        *((f"--as-needed, {linker}", lambda linker=linker: as_needed(setup, linker))
          for linker in LINKERS),
        ("pkg-config", lambda: through_pkg_config(setup, False)),
        ("pkg-config --static", lambda: through_pkg_config(setup, True)),
        ("at run time", lambda: at_run_time(setup)),
        *((f"the stub, {compiler}", lambda compiler=compiler: stub(setup, compiler))
          for compiler in ("gcc", "clang", "tcc", "musl-gcc")),
        ("the same names everywhere", lambda: same_names(setup)),
    ], "two_agents": [
        ("ckpt and a static program with the agent",
         lambda: under_the_command(setup, "-static")),
        ("ckpt and a program with the agent within", lambda: under_the_command(setup)),
        ("ckpt and a program linked with libckpt.so",
         lambda: under_the_command(setup, "-Wl,--no-as-needed", "-lckpt")),
        ("ckpt and a program linked with libckpt.so, musl",
         lambda: under_the_command(setup, "-lckpt", compiler="musl-gcc")),
        ("ckpt and a static program with the agent, musl",
         lambda: under_the_command(setup, "-static", compiler="musl-gcc")),
        ("the user's LD_PRELOAD", lambda: user_preload(setup)),
        ("LD_PRELOAD and a program with the agent within", lambda: preloaded_as_well(setup)),
        ("LD_PRELOAD and a static program", lambda: preloaded_as_well(setup, "-static")),
        ("a second copy of the library", lambda: second_copy(setup)),
        *call_cases(setup),
    ], "project": [
        ("a project, gcc", lambda: finds_it(setup, "gcc")),
        ("a project, clang", lambda: finds_it(setup, "clang")),
        *((f"a project, {linker}", lambda linker=linker: (tool(LINKERS[linker]), finds_it(
            setup, "gcc", f"-DCMAKE_EXE_LINKER_FLAGS=-fuse-ld={linker}", "-DTOOLS=OFF")))
          for linker in ("gold", "lld")),
        *(built_only if not setup.drops else []),
    ]}
    harness.run_cases(setup, cases[part])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--part", choices=("archive", "shared", "two_agents", "project"), required=True)
    sys.exit(harness.main(made, body))
