# SPDX-License-Identifier: MIT
"""Jobs whose images lie on a server: --resume, the functions of ckpt.h with such names, and that every
way of bringing ckpt into a program finds ckpt-transfer."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from server_images import PATIENCE, PROGRAM, STEPS, Program, Tests, expect, same  # noqa: E402
from server_process import Failure, run_tests  # noqa: E402

# Called with what it is to do and names.
CALLS = r"""
import ctypes, os, sys
c = ctypes.CDLL(None)
class config(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 1024), ("signal", ctypes.c_uint), ("continues", ctypes.c_uint),
                ("period", ctypes.c_uint), ("flags", ctypes.c_int)]
def error():
    text = ctypes.create_string_buffer(2048)
    c.ckpt_error(text, 2048)
    return text.value.decode()
what, name = sys.argv[1], sys.argv[2].encode()
if what == "call":
    done = c.ckpt_ckpt(name)
    print("made", done, c.ckpt_restarted(), error(), flush=True)
if what == "config":
    wanted, before = config(name=name, flags=2), config()
    c.ckpt_config(ctypes.byref(wanted), None)
    c.ckpt_config(None, ctypes.byref(before))
    print(before.name.decode(), flush=True)
    print("made", c.ckpt_ckpt(None), c.ckpt_restarted(), error(), flush=True)
if what == "back":
    turn = 0
    done = c.ckpt_ckpt(name)
    if c.ckpt_restarted():
        print("again", turn, flush=True)
        sys.exit(3)
    turn = 1
    c.ckpt_restart(name if len(sys.argv) == 3 else sys.argv[3].encode())
    print("here", error(), flush=True)
if what == "latest":
    print("made", c.ckpt_ckpt(name), c.ckpt_restarted(), flush=True)
    if not c.ckpt_restarted():
        c.ckpt_restart(None)
        print("here", error(), flush=True)
"""


class Job:
    """One command line of a queue: --resume with the counting program of server_images."""

    def __init__(self, tests, name, *options, **environment):
        self.tests, self.name, self.options = tests, name, options
        self.scratch = pathlib.Path(os.path.join(tests.scratch, f"job{tests.random.randrange(1 << 60)}"))
        self.scratch.mkdir()
        self.gate, self.pulse = self.scratch / "gate", self.scratch / "pulse"
        self.out, self.errors = self.scratch / "out", self.scratch / "errors"
        for file in (self.pulse, self.out, self.errors):
            file.touch()
        os.utime(self.pulse, (0, 0))
        self.environment = {**os.environ, "CKPT_RETRY": "0", "XDG_STATE_HOME": str(tests.scratch / "state"), **environment}

    def start(self, *more, program=PROGRAM):
        self.errors.write_text("")
        self.process = subprocess.Popen(
            [f"{self.tests.bin}/bin/ckpt", "--resume", "--exit-code", "85", *self.options, *more, "-n", self.name,
             sys.executable, "-c", program, str(self.gate), str(self.pulse)],
            stdin=subprocess.DEVNULL, stdout=self.out.open("a"), stderr=self.errors.open("a"), cwd=self.scratch,
            env=self.environment)
        self.tests.processes.append(self.process)

    def said(self):
        return self.errors.read_text()

    def wait_until(self, so):
        end = time.monotonic() + PATIENCE
        while not so():
            if time.monotonic() > end or (self.process.poll() is not None and not so()):
                raise Failure(f"waited in vain; {self.process.poll()}, it says {self.said()!r}")
            time.sleep(0.005)

    def wait_until_it_runs(self):
        before = self.pulse.stat().st_mtime_ns
        self.wait_until(lambda: self.pulse.stat().st_mtime_ns != before)

    def end(self):
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failure(f"it does not end; it says {self.said()!r}") from None

    def run_to_checkpoint(self, *more):
        self.start(*more)
        self.wait_until_it_runs()
        self.process.send_signal(signal.SIGTSTP)
        same((self.end(), self.said()), (85, ""), "a checkpoint")

    def run_to_end(self, *more):
        """What it says."""
        if self.gate.exists():
            self.gate.unlink()
        self.start(*more)
        status = self.end()
        same(status, 0, f"the end: {self.said()}")
        same(self.out.read_text().split(), [str(i) for i in range(STEPS)], "the output")
        return self.said()

    def program(self):
        """The number of the program itself."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if pathlib.Path(f"/proc/{child}/comm").read_text() != "ckpt-witness\n":
                return int(child)
        raise Failure("there is no program")


class Jobs(Tests):
    def names(self, server):
        return sorted(i["name"] for i in server.json())

    def test_resume(self):
        s = self.server()
        for options in ((), ("--compress=zstd",)):
            job = Job(self, f"cssrv://127.0.0.1:{s.port}/queue/job", *options)
            job.run_to_checkpoint()
            same(self.names(s), ["queue/job"], "what the server has")
            for _ in range(2):
                job.run_to_checkpoint()
            same(job.run_to_end(), "", "what is said")
            same(self.names(s), [], "what the server has at the end")
        same(s.litter(), [], "litter")

    def test_resume_by_its_own_trigger(self):
        """Nobody but the image tells that a checkpoint has ended the program."""
        s = self.server()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/own")
        for _ in range(2):
            job.start()
            job.wait_until_it_runs()
            os.kill(job.program(), signal.SIGTSTP)
            same((job.end(), job.said()), (85, ""), "a checkpoint that the program was asked for")
        same(job.run_to_end(), "", "what is said")
        same(self.names(s), [], "what the server has at the end")

    def test_server_down(self):
        """A job whose server is away does not begin anew."""
        s = self.server()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/down")
        job.run_to_checkpoint()
        before = job.out.read_text()
        s.kill()
        job.start()
        same(job.end(), 125, "without its server")
        expect("refused" in job.said() and job.said().count("\n") == 1 and job.name in job.said(), job.said())
        same(job.out.read_text(), before, "what has run")
        s.again()
        # And away again when it ends: nobody knows by what, and the line is run again.
        job.start()
        job.wait_until_it_runs()
        s.kill()
        job.gate.unlink()
        same(job.end(), 125, "the end without its server")
        expect("cannot be seen" in job.said(), job.said())
        s.again()
        same(self.names(s), ["down"], "the image")

    def test_no_such_host(self):
        job = Job(self, "cssrv://no-such-host.invalid/x")
        job.start()
        same(job.end(), 125, "the status")
        expect("not known" in job.said() and job.said().count("\n") == 1, job.said())
        same(job.out.read_text(), "", "what has run")

    def test_keep_image(self):
        s = self.server("--keep", "2")
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/kept", "--keep-image")
        job.run_to_checkpoint()
        job.run_to_checkpoint()
        same(job.run_to_end(), "", "what is said")
        same(self.names(s), ["kept.done", "kept.done"], "what the server has")

    def test_bad_images(self):
        s = self.server()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/bad")
        for n in range(2):
            job.run_to_checkpoint()
            for object_file in (s.directory / "objects").iterdir():
                data = bytearray(object_file.read_bytes())
                data[len(data) // 2] ^= 1
                object_file.write_bytes(data)
            job.start()
            same(job.end(), 125, "from a torn image")
            expect("checksum" in job.said() and "--fresh-if-bad" in job.said() and job.said().count("\n") == 1, job.said())
            job.out.write_text("")
            job.start("--fresh-if-bad")
            job.wait_until_it_runs()
            job.gate.unlink()
            same(job.end(), 0, "anew")
            said = job.said()
            same(job.out.read_text().split(), [str(i) for i in range(STEPS)], "the output")
            expect("starts afresh" in said and said.count("\n") == 1, said)
            same(self.names(s), ["bad.bad", "bad.bad.1"][:n + 1], "what the server has")
            job.out.write_text("")

    def test_another_program(self):
        s = self.server()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/mine")
        job.run_to_checkpoint()
        job.start(program="print('anew')")
        same(job.end(), 125, "with another program")
        expect("command line" in job.said() and "anew" not in job.out.read_text(), job.said())

    def test_one_at_a_time(self):
        s = self.server()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/one")
        job.start()
        job.wait_until_it_runs()
        other = Job(self, job.name)
        other.start()
        same(other.end(), 125, "a second one")
        expect("in use by another" in other.said(), other.said())
        job.process.send_signal(signal.SIGTSTP)
        same(job.end(), 85, "the first")
        same(job.run_to_end(), "", "what is said")
        same([f.name for f in (self.scratch / "state/ckpt").iterdir()], [], "locks that are left")

    def test_kept_here(self):
        """The newest image is the one that was kept here because the server was away."""
        s = self.server()
        keep = self.scratch / "fallback"
        keep.mkdir()
        job = Job(self, f"cssrv://127.0.0.1:{s.port}/a/b", CKPT_FALLBACK=str(keep))
        job.run_to_checkpoint()
        job.start()
        job.wait_until_it_runs()
        s.kill()
        job.process.send_signal(signal.SIGTSTP)
        same(job.end(), 85, f"a checkpoint without a server: {job.said()}")
        same([f.name for f in keep.iterdir()], ["b"], "what is kept")
        job.start()
        same(job.end(), 125, "while the server is away")
        expect(str(keep / "b") in job.said(), job.said())
        s.again()
        kept = (keep / "b").read_bytes()
        # From the newer of the two: it has the later number.
        same(job.run_to_end(), "", "what is said")
        same((self.names(s), list(keep.iterdir())), ([], []), "what is left")
        # One that is older than the server's stays where it is, until the job has ended.
        job.out.write_text("")
        job.run_to_checkpoint()
        (keep / "b").write_bytes(kept)
        job.run_to_checkpoint()
        same(job.run_to_end(), "", "what is said")
        same((self.names(s), list(keep.iterdir())), ([], []), "what is left")

    def test_commands(self):
        job = Job(self, "exec:cat > x")
        job.start()
        same(job.end(), 125, "with a command")
        expect("give another name" in job.said() and job.said().count("\n") == 1, job.said())

    def test_names_that_mean_nothing(self):
        """Are said at once and not when the first checkpoint is due."""
        for name, why in [("cssrv://[::1/x", "not closed"), ("cssrv://h:99999/x", "port"), ("cssrv://::1/x", "brackets"),
                          ("cssrv://h", "no name"), ("cssrvs:///x", "no host"), ("ftp://h/x", "scheme")]:
            done = subprocess.run([f"{self.bin}/bin/ckpt", "-n", name, "echo", "ran"], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False)
            expect((done.returncode, done.stdout) == (125, "") and why in done.stderr and done.stderr.count("\n") == 1,
                   f"{name}: {done}")

    # --- ckpt.h --------------------------------------------------------------------------------

    def calls(self, *words, **environment):
        return subprocess.run([sys.executable, "-c", CALLS, *words], capture_output=True, stdin=subprocess.DEVNULL, text=True,
                              timeout=PATIENCE, check=False, cwd=self.scratch,
                              env={**os.environ, "LD_PRELOAD": f"{self.bin}/lib/libckpt.so", "CKPT_RETRY": "0",
                                   "CKPT_CONTINUE": "1", **environment})

    def restarted(self, name):
        return subprocess.run([f"{self.bin}/bin/ckpt-restart", name], capture_output=True, text=True, timeout=PATIENCE,
                              stdin=subprocess.DEVNULL, check=False)

    def test_calls(self):
        s = self.server()
        name = f"cssrv://127.0.0.1:{s.port}/api"
        done = self.calls("call", name)
        same((done.returncode, done.stdout, done.stderr), (0, "made 0 0 \n", ""), "ckpt_ckpt")
        again = self.restarted(name)
        same((again.returncode, again.stdout), (0, "made 0 1 \n"), f"its image: {again.stderr}")
        done = self.calls("config", name + "2")
        same((done.stdout, done.stderr), (f"{name}2\nmade 0 0 \n", ""), "ckpt_config")
        same(self.names(s), ["api", "api2"], "what the server has")
        for n in (name + "3", f"file://{self.scratch}/api"):
            done = self.calls("back", n)
            same((done.returncode, done.stdout, done.stderr), (3, "again 0\n", ""), f"ckpt_restart of {n}")
        done = self.calls("latest", name)
        same((done.stdout, done.stderr), ("made 0 0 \nmade 0 1 \n".replace(" \n", "\n"), ""), "ckpt_restart of the latest")
        said = self.calls("latest", f"exec:cat > {self.scratch}/e").stdout
        expect(said.startswith("made 0 0\nhere ") and "given to a command" in said, f"a command: {said!r}")
        again = self.calls("back", f"exec:cat > {self.scratch}/e", f"exec:cat {self.scratch}/e")
        same((again.returncode, again.stdout), (3, "again 0\n"), f"a command that gives it back: {again.stderr}")

    def test_calls_that_fail(self):
        s = self.server()
        name = f"cssrv://127.0.0.1:{s.port}/api"
        for other, why in [(name + "/none", "there is no such image"), ("cssrv://127.0.0.1:1/x", "refused"),
                           ("exec:exit 3", "status 3"), ("exec:echo no image", "no whole image"),
                           ("cssrv:///x", "no host"), ("gopher://x/y", "scheme")]:
            done = self.calls("back", name, other)
            same((done.returncode, done.stderr), (0, ""), f"a program that goes on: {done.stdout}")
            expect(done.stdout.startswith("here ") and why in done.stdout and done.stdout.count("\n") == 1,
                   f"{other}: {done.stdout!r}")
        done = self.calls("call", "cssrv://127.0.0.1:1/x")
        expect(done.stdout.startswith("made -1 0 ") and "refused" in done.stdout, done.stdout)

    # --- where ckpt-transfer is ----------------------------------------------------------------

    def compiled(self, *words):
        source, program = self.scratch / "p.c", self.scratch / f"p{len(list(self.scratch.glob('p*')))}"
        source.write_text("#include <ckpt.h>\n#include <stdio.h>\n#include <string.h>\n"
                          "int main(int n, char **v) { char e[999]; int r = ckpt_ckpt(v[1]); ckpt_error(e, sizeof e);"
                          "printf(\"%d %s\\n\", r, e); return n != 2; }\n")
        subprocess.run(["cc", "-I", f"{self.bin}/include", "-o", str(program), str(source), *words], check=True)
        return str(program)

    def test_found(self):
        s = self.server()
        name = f"cssrv://127.0.0.1:{s.port}/f"
        quiet = {"PATH": "/none", "CKPT_CONTINUE": "1", "CKPT_RETRY": "0"}

        def run(program, **environment):
            done = subprocess.run([program, name], env={**quiet, **environment}, capture_output=True, text=True,
                                  timeout=PATIENCE, check=False, stdin=subprocess.DEVNULL)
            return done.stdout.strip()
        library = f"{self.bin}/lib"
        linked = self.compiled("-Wl,--no-as-needed", f"-L{library}", "-lckpt", "-Wl,-rpath," + library)
        same(run(linked), "0", "linked with the library")
        # An archive, which does not know where it came from, and a library away from its place.
        fixed = self.compiled("-static", f"-L{library}", "-lckpt")
        away = self.scratch / "away"
        away.mkdir()
        shutil.copy(f"{library}/libckpt.so", away)
        moved = self.compiled("-Wl,--no-as-needed", f"-L{away}", "-lckpt", f"-Wl,-rpath,{away}")
        for program in (fixed, moved):
            said = run(program)
            expect(said.startswith("-1 there is no ckpt-transfer") or
                   (said == "0" and os.path.exists("/usr/local/bin/ckpt-transfer")), f"nowhere: {said}")
            same(run(program, PATH=f"relative::/none:{self.bin}/bin:/usr/bin"), "0", "in PATH")
            same(run(program, CKPT_TRANSFER=f"{self.bin}/bin/ckpt-transfer"), "0", "as it says")
            expect("/none/x" in run(program, CKPT_TRANSFER="/none/x", PATH=f"{self.bin}/bin"), "what is said wins")

    def test_found_from_outside(self):
        """A program that was started without ckpt."""
        s = self.server()
        gate, pulse = self.scratch / "g", self.scratch / "u"
        pulse.touch()
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(gate), str(pulse)], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={"PATH": "/usr/bin:/bin"})
        self.processes.append(process)
        end = time.monotonic() + PATIENCE
        while not gate.exists():
            expect(time.monotonic() < end, "it does not begin")
            time.sleep(0.01)
        name = f"cssrv://127.0.0.1:{s.port}/outside"
        for _ in range(2):
            done = subprocess.run([f"{self.bin}/bin/ckpt", "-p", str(process.pid), "--now", "-c", "-n", name],
                                  capture_output=True, text=True, check=False)
            same((done.returncode, done.stdout, done.stderr), (0, name + "\n", ""), "a checkpoint from outside")
        same(self.names(s), ["outside"], "what the server has")


if __name__ == "__main__":
    run_tests(Jobs)
