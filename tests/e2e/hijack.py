#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Programs that were started without ckpt (ckpt -p PID): the agent comes into them and leaves no trace
but itself; afterwards every way to a checkpoint works; whoever brings it may be killed at any moment;
and each thing that stands in the way is one line."""

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time

import asking
import harness

OWN = """
import select, threading
ready()
poller = select.epoll()
until = 0.1
turns = 0
while not os.path.exists('stop'):
    begin = time.monotonic()
    {call}
    spent = time.monotonic() - begin
    turns += 1
    if spent < until: print('early', spent)
print('ok')
"""
COUNTING = """
#include <dirent.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static int stop(void) { return access("stop", F_OK) == 0; }
static void* work(void* argument) {
  uint64_t seed = (uintptr_t)argument + 1;
  unsigned char* kept[64] = {0};
  size_t sizes[64] = {0};
  while (!stop())
    for (int i = 0; i < 20000; ++i) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      unsigned at = seed >> 58;
      for (size_t k = 0; k < sizes[at]; k += 16)
        if (kept[at][k] != (unsigned char)(at + (uintptr_t)argument)) { puts("damaged"); exit(1); }
      free(kept[at]);
      sizes[at] = 16 + (seed >> 32) % 4000;
      kept[at] = malloc(sizes[at]);
      memset(kept[at], (int)(at + (uintptr_t)argument), sizes[at]);
    }
  return 0;
}
int main(int argc, char** argv) {
  if (argc > 1 && argv[1][0] == 'c') {  /* nothing but calls */
    puts("ready"); fflush(stdout);
    while (!stop()) if (getppid() < 0 || write(-1, "", 1) != -1) return 1;
  } else if (argc > 1 && argv[1][0] == 'u') {  /* nothing but computing */
    puts("ready"); fflush(stdout);
    volatile double x = 1;
    for (int round = 0; !stop(); ++round) {
      double y = 1, z = 1;
      for (int i = 0; i < 10000000; ++i) { y = y * 1.0000001 + 1e-9; z = z * 1.0000001 + 1e-9; }
      x = y;
      if (y != z) { puts("damaged"); return 1; }
    }
  } else {
    pthread_t t[8];
    puts("ready"); fflush(stdout);
    for (uintptr_t i = 0; i < 8; ++i) pthread_create(&t[i], 0, work, (void*)i);
    for (int i = 0; i < 8; ++i) pthread_join(t[i], 0);
  }
  puts("ok");
  return 0;
}
"""


def inject(session, *options, pid=None, wanted=0, image=True):
    """ckpt -p PID: silent, or one line."""
    more = ["-n", session.IMAGE] if image else []
    words = [session.setup.ckpt, "-p", pid or session.process.pid, *more, *options]
    status, out, err = session.setup.run(words, session.cwd)
    if status != wanted or out or (wanted == 0 and err):
        raise harness.Failure(f"{words[1:]}: status {status}, stdout {out!r}, stderr {err!r}; the "
                              f"program: {session.process.ended(0.2)} {session.process.status} "
                              f"{session.process.stderr() if session.process.ended() else ''!r}")
    return err


def now(session, *options, pid=None):
    words = [session.setup.ckpt, "-p", pid or session.process.pid, "--now", "-n", session.IMAGE, *options]
    status, out, err = session.setup.run(words, session.cwd)
    if status != 0 or err or out != f"{session.image}\n":
        raise harness.Failure(f"{words[1:]}: status {status}, stdout {out!r}, stderr {err!r}")
    harness.check_image(session.setup, session.image)


def rounds(setup, argv, times=3, more=4, **process):
    """One that runs, is hijacked at some moment and again, and then goes through images."""
    session = harness.Session(setup)
    session.launch(argv(session), **process)
    time.sleep(setup.random.uniform(0, 0.3))
    inject(session)
    if session.image.exists():
        raise harness.Failure("an image, and nobody has asked for one")
    for _ in range(more):
        time.sleep(setup.random.uniform(0, 0.02))
        inject(session)
    for _ in range(times):
        time.sleep(setup.random.uniform(0, 0.1))
        session.checkpoint()
        process.pop("env", None)
        session.restart(**process)
    return session


def to_the_end(session):
    session.stop()
    status = session.process.wait()
    output = session.output + session.process.out.all()
    if status != 0 or not output.endswith(b"ok\n"):
        raise harness.Failure(f"status {status}, stdout {output[-300:]!r}, "
                              f"stderr {session.process.stderr()!r}")


WORDS = {name: ("", "two words", "3") for name in
         ("static_stripped", "static_pie", "musl_static", "musl_dynamic")}


def victim(setup, name):
    silent, held = os.pipe()
    session = rounds(setup, lambda s: s.victim(name, *WORDS.get(name, ())), stdin=silent,
                     env={"VICTIM_VALUE": "kept = yes"})
    session.stop()
    if name.endswith("read_pipe"):
        os.write(held, b"0000000\n")
    to_the_end(session)
    os.close(silent)
    os.close(held)


def leader_gone(setup):
    """The main thread is a zombie; whoever takes its number before a restart is not ckpt's matter."""
    session = rounds(setup, lambda s: s.victim("threads_leader_gone"), times=0)
    now(session, "-c")
    to_the_end(session)


def script(setup, text):
    session = rounds(setup, lambda s: s.script(text))
    session.end()


def never_early(setup, call):
    """The program alone, thirty injections: no call of its ends early or with an error."""
    session = harness.Session(setup)
    session.launch(session.script(OWN.format(call=call)))
    for _ in range(30):
        time.sleep(setup.random.uniform(0, 0.03))
        inject(session)
    session.end()


def compiled(setup, word):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise harness.Skip("no C compiler")

    def argv(session):
        (session.cwd / "counting.c").write_text(COUNTING)
        subprocess.run([compiler, "-O1", "-pthread", "-o", "counting", "counting.c"],
                       cwd=session.cwd, check=True)
        return ["./counting", word]

    to_the_end(rounds(setup, argv))


def shell(setup, argv, *words):
    session = rounds(setup, lambda s: [*argv, "-c", "echo ready; while [ ! -e stop ]; do i=$((i+1)); "
                                       "done; echo ok", *words])
    to_the_end(session)


def sleeper(setup):
    session = harness.Session(setup)
    begin = time.monotonic()
    session.launch(["/bin/sleep", "1.5"], ready=False)
    for _ in range(10):
        time.sleep(setup.random.uniform(0.02, 0.05))
        inject(session)
    if session.process.wait() != 0 or time.monotonic() - begin < 1.5:
        raise harness.Failure(f"{session.process.status} after {time.monotonic() - begin}")


def by_now(setup):
    """--now brings the agent first. The name is this shell's, from this directory."""
    session = harness.Session(setup)
    session.launch(session.script(
        "import signal\nfor n in signal.valid_signals():\n"
        "  try: signal.signal(n, lambda *_: print('heard'))\n  except (OSError, ValueError): pass\n"
        "ready()\nwait()\nprint('ok')\n"))
    now(session, "-c")
    now(session, "-c")
    now(session)
    if session.process.wait() != 0:
        raise harness.Failure(f"{session.process.status}")
    session.output += session.process.out.all()
    session.restart(armed=False)
    session.end()


def default_name(setup):
    session = harness.Session(setup)
    elsewhere = setup.directory("elsewhere")
    session.launch(session.script("ready()\nwait()\nprint('ok')\n"))
    words = [setup.ckpt, "-p", session.process.pid]
    for more in ([], ["--now", "-c"]):
        status, out, err = setup.run(words + more, elsewhere)
        if status != 0 or err:
            raise harness.Failure(f"{status} {err!r}")
    if out != f"{elsewhere}/python3.ckpt\n":
        raise harness.Failure(f"{out!r}")
    status, out, err = setup.run(words + ["--now", "-c"], session.cwd,
                                 env={"CKPT_NAME": "by-variable.ckpt"})
    if status != 0 or out != f"{session.cwd}/by-variable.ckpt\n":
        raise harness.Failure(f"{status} {out!r} {err!r}")
    session.end()


def other_options(setup):
    """A second time: the signal and the period move."""
    session = harness.Session(setup)
    session.launch(session.script("ready()\nwait()\nprint('ok')\n"))
    inject(session, "-a", "USR1")
    session.process.wait_armed(signal.SIGUSR1)
    inject(session, "-a", "USR2", "-c")
    if session.process.catches(signal.SIGUSR1):
        raise harness.Failure("the first signal is still the agent's")
    session.process.signal(signal.SIGUSR2)
    session.process.wait_until(session.image.exists, "an image")
    session.process.wait_until(lambda: session.process.catches(signal.SIGUSR2), "it goes on")
    inject(session, "-z", "30")
    before = harness.identity(session.image)
    session.process.wait_until(lambda: harness.identity(session.image) != before, "the period")
    inject(session, "-z", "0")
    session.end()


def own_handler(setup):
    """What the program handles, it keeps, unless it was named."""
    session = harness.Session(setup)
    session.launch(session.script(
        "import signal\nheard = []\nsignal.signal(signal.SIGTSTP, lambda *_: print('heard', flush=True))\n"
        "ready()\nwait()\nprint('ok')\n"))
    words = [setup.ckpt, "-p", session.process.pid]
    status, out, err = setup.run(words, session.cwd)
    if status != 0 or out:
        raise harness.Failure(f"{status} {out!r} {err!r}")
    harness.expect_line("kept", err, "SIGTSTP", "--now", "-a")
    session.process.signal(signal.SIGTSTP)
    session.process.wait_output(b"heard\n")
    inject(session, "-a", "TSTP", "-c")
    session.process.signal(signal.SIGTSTP)
    session.process.wait_until(session.image.exists, "an image")
    session.end(output=b"ready\nheard\nok\n")


def signals_arrive(setup):
    """A thousand signals with numbers, and thirty injections: all come, in order."""
    session = harness.Session(setup)
    session.launch(session.victim("queued_values", "1000"))
    libc = ctypes.CDLL(None, use_errno=True)
    sent = 0
    while sent < 1000:
        asker = setup.start([setup.ckpt, "-p", session.process.pid, "-n", session.IMAGE], session.cwd)
        while sent < 1000 and not asker.ended(0.0002):
            if libc.sigqueue(session.process.pid, 40, ctypes.c_void_p(sent)) == 0:
                sent += 1
        if asker.wait() != 0 or asker.stderr():
            raise harness.Failure(f"{asker.stderr()!r}")
    session.end()


def traces(pid):
    maps = harness.read_proc(pid, "maps").splitlines()
    threads = {name: harness.read_proc(pid, f"task/{name}/status") for name in os.listdir(f"/proc/{pid}/task")}
    blocked = {name: [l for l in text.splitlines() if l.startswith(("SigBlk", "SigPnd", "TracerPid"))]
               for name, text in threads.items()}
    return len(maps), sorted(os.listdir(f"/proc/{pid}/fd")), blocked


def many(setup, times=200):
    """One threaded program that checks itself: nothing is lost and nothing piles up."""
    session = harness.Session(setup)
    session.launch(session.victim("threads_registers"))
    inject(session)
    before = traces(session.process.pid)
    for i in range(times):
        inject(session, "-a", "USR1" if i % 2 else "TSTP")
    after = traces(session.process.pid)
    if before != after:
        raise harness.Failure(f"{before}\n{after}")
    to_the_end(session)


def in_and_out(setup, times=100):
    """What the agent has brought goes with it: mappings, descriptors, the signal's disposition."""
    session = harness.Session(setup)
    session.launch(session.victim("threads_registers"))

    def kept():
        actions = [l for l in harness.read_proc(session.process.pid, "status").splitlines()
                   if l.startswith(("SigIgn", "SigCgt"))]
        timers = harness.read_proc(session.process.pid, "timers")
        return traces(session.process.pid), actions, timers

    before = kept()
    for _ in range(times):
        inject(session, "-z", "100000")
        if kept()[1] == before[1]:
            raise harness.Failure("no trigger")
        inject(session, "--remove", image=False)
        if kept() != before:
            raise harness.Failure(f"{before}\n{kept()}")
    refused_out = inject(session, "--remove", image=False, wanted=1)
    harness.expect_line("twice", refused_out, "no agent")
    inject(session)
    session.checkpoint()
    session.restart()
    inject(session, "--remove", image=False, pid=session.process.program())
    if session.process.catches(harness.TRIGGER):
        raise harness.Failure("the trigger is still there")
    to_the_end(session)


def started_by_ckpt(setup):
    session = harness.Session(setup)
    session.start(session.script("ready()\nwait()\nprint('ok')\n"))
    err = inject(session, "--remove", image=False, wanted=1)
    harness.expect_line("not ours", err, "did not come by ckpt -p")
    inject(session, "-a", "USR2")
    if session.process.catches(harness.TRIGGER) or not session.process.catches(signal.SIGUSR2):
        raise harness.Failure("the trigger has not moved")
    session.end()


def other_version(setup):
    """An agent of another ckpt: told apart by its mark, and left alone."""
    session = harness.Session(setup)
    library = setup.library.read_bytes()
    mark = b"\x7fckpt's agent.\n\0"
    if library.count(mark) != 1:
        raise harness.Failure(f"{library.count(mark)} marks in {setup.library}")
    at = library.index(mark) + len(mark)
    version = int.from_bytes(library[at:at + 4], "little") + 1
    (session.cwd / "other.so").write_bytes(library[:at] + version.to_bytes(4, "little") + library[at + 4:])
    session.launch(session.script("ready()\nwait()\nprint('ok')\n"),
                   env={"LD_PRELOAD": str(session.cwd / "other.so"), "CKPT_NAME": session.IMAGE})
    for more in ([], ["--now"], ["--remove"]):
        words = [setup.ckpt, "-p", session.process.pid, *more]
        status, out, err = setup.run(words, session.cwd)
        if status != 1 or out:
            raise harness.Failure(f"{more}: status {status}, stdout {out!r}, stderr {err!r}")
        harness.expect_line("refusal", err, "another version", f"interface {version}")
    session.checkpoint()  # its own signal works
    session.restart()
    session.end()


def die(setup, asker, tracer=True):
    """At a random moment the command, the process that it has made, or both."""
    time.sleep(setup.random.uniform(0, 0.012))
    tracers = harness.children_of(asker.pid)
    for pid in setup.random.choice([[asker.pid], tracers, [asker.pid, *tracers]]
                                   if tracer else [[asker.pid]]):
        harness.kill_quietly(pid)
    asker.wait()


def killed(setup, name, *words, tracer=True, times=20):
    """kill -9 of who brings it, of the process that he has made for it, or of both. What that process
    has interrupted, it must live to mend where the kernel says EINTR at once."""
    session = harness.Session(setup)
    argv = session.victim(name, *words)
    for turn in range(times):
        session.go_on()
        session.launch(argv)
        for _ in range(2):
            die(setup, setup.start([setup.ckpt, "-p", session.process.pid], session.cwd), tracer)
        time.sleep(0.02)
        session.stop()
        status = session.process.wait()
        output = session.process.out.all()
        if status != 0 or not output.endswith(b"ok\n") or session.process.stderr():
            raise harness.Failure(f"turn {turn}: status {status}, stdout {output[-300:]!r}, stderr "
                                  f"{session.process.stderr()!r}")


def stopped(setup):
    session = harness.Session(setup)
    session.launch(session.script("ready()\nwait()\nprint('ok')\n"))
    session.process.signal(signal.SIGSTOP)
    session.process.wait_until(lambda: ") T" in harness.read_proc(session.process.pid, "stat"), "a stop")
    inject(session)
    inject(session)
    time.sleep(0.1)
    if ") T" not in harness.read_proc(session.process.pid, "stat"):
        raise harness.Failure("it goes on")
    session.process.signal(signal.SIGCONT)
    session.checkpoint()
    session.restart()
    session.end()


def hidden_files(setup, *unshare):
    """A process that cannot see ckpt's files."""
    if setup.drops and "-r" not in unshare:
        raise harness.Skip("needs root")
    session = harness.Session(setup)
    if subprocess.run(["unshare", *unshare, "true"], capture_output=True).returncode != 0:
        raise harness.Skip("no namespace can be made")
    argv = session.script("ready()\nwait()\nprint('ok')\n")
    session.launch(["unshare", *unshare, "sh", "-c",
                    f"mount -t tmpfs none {setup.prefix} && exec {' '.join(argv)}"])
    inject(session)
    now(session, "-c")
    session.end()


def in_chroot(setup):
    if setup.drops:
        raise harness.Skip("needs root")
    session = harness.Session(setup)
    program = session.victim("static_registers_avx2")[0]
    root = session.cwd / "root"
    root.mkdir()
    shutil.copy(program, root / "program")
    session.launch(["/usr/sbin/chroot", root, "/program", "stop"])
    inject(session)
    words = [setup.ckpt, "-p", session.process.pid, "--now"]
    status, _, err = setup.run(words, session.cwd)
    if status != 1:
        raise harness.Failure(f"{status} {err!r}")
    harness.expect_line("without /proc", err, "is /proc mounted")
    (root / "stop").touch()
    if session.process.wait() != 0:
        raise harness.Failure(f"{session.process.status} {session.process.stderr()!r}")


def refused(session, *words, pid=None):
    harness.expect_line("refusal", inject(session, pid=pid, wanted=1), "process \\d+: ", *words)


def seccomp_filter(setup):
    """One that allows everything."""
    session = harness.Session(setup)
    session.launch(session.script(
        "import ctypes, struct\nlibc = ctypes.CDLL(None)\nlibc.prctl(38, 1, 0, 0, 0)\n"
        "code = ctypes.create_string_buffer(struct.pack('HBBI', 6, 0, 0, 0x7fff0000))\n"
        "program = ctypes.create_string_buffer(struct.pack('HxxxxxxQ', 1, ctypes.addressof(code)))\n"
        "assert libc.prctl(22, 2, program, 0, 0) == 0\nready()\nwait()\nprint('ok')\n"))
    refused(session, "seccomp", "CKPT_SECCOMP=try")
    words = [setup.ckpt, "-p", session.process.pid, "--now", "-c"]
    status, out, err = setup.run(words, session.cwd, env={"CKPT_SECCOMP": "try"})
    if status != 0 or err:
        raise harness.Failure(f"{status} {err!r}")
    session.stop()
    if session.process.wait() != 0:
        raise harness.Failure(f"{session.process.status}")


def body(setup):
    cases = [(name, lambda n=name: victim(setup, n)) for name in
             ("wait_nanosleep", "wait_clock_nanosleep", "wait_clock_nanosleep_abs", "wait_futex",
              "wait_poll", "wait_ppoll", "wait_select", "wait_pselect", "wait_pause",
              "wait_sigsuspend", "wait_sigtimedwait", "wait_read_pipe", "threads_registers",
              "threads_states", "rseq", "registers_avx2", "odd_flags", "epoll",
              "altstack_small", "heap", "tick",
              "static_nolibc", "static_threads_glibc", "static_rseq", "static_stripped", "static_pie",
              "musl_static", "musl_dynamic",
              "musl_threads_static", "musl_threads_dynamic", "threads_storm",
              "threads_born_and_gone", "threads_tls", "no_vdso")
             if (setup.victims / name).exists()]
    cases += [("never early: " + call, lambda c=call: never_early(setup, c)) for call in
              ("time.sleep(until)", "poller.poll(until)", "select.select([], [], [], until)",
               "threading.Event().wait(until)")]
    cases += [
        ("threads_leader_gone", lambda: leader_gone(setup)),
        ("malloc in 8 threads", lambda: compiled(setup, "m")),
        ("nothing but calls", lambda: compiled(setup, "c")),
        ("nothing but computing", lambda: compiled(setup, "u")),
        ("python3", lambda: script(setup, "ready()\nwait()\nprint('ok')\n")),
        ("bash", lambda: shell(setup, ["/bin/bash"])),
        ("busybox", lambda: shell(setup, ["/bin/busybox", "sh"])),
        ("sleep", lambda: sleeper(setup)),
        ("by --now", lambda: by_now(setup)),
        ("default name", lambda: default_name(setup)),
        ("other options", lambda: other_options(setup)),
        ("its own handler", lambda: own_handler(setup)),
        ("signals arrive", lambda: signals_arrive(setup)),
        ("many", lambda: many(setup)),
        ("in and out", lambda: in_and_out(setup)),
        ("another version", lambda: other_version(setup)),
        ("started by ckpt", lambda: started_by_ckpt(setup)),
        ("killed, threads", lambda: killed(setup, "threads_registers")),
        ("killed, in a call", lambda: killed(setup, "wait_sigtimedwait", tracer=False)),
        ("killed, asleep", lambda: killed(setup, "wait_nanosleep")),
        ("killed, static", lambda: killed(setup, "static_registers_avx2")),
        ("killed, without a first thread", lambda: killed(setup, "threads_leader_gone")),
        ("stopped", lambda: stopped(setup)),
        ("mount namespace", lambda: hidden_files(setup, "-m")),
        ("user namespace", lambda: hidden_files(setup, "-r", "-m")),
        ("chroot without /proc", lambda: in_chroot(setup)),
        ("seccomp filter", lambda: seccomp_filter(setup)),
    ]
    cases += asking.Asking(setup, lambda session, text: session.launch(session.script(text)), inject,
                           refused).cases()
    harness.run_cases(setup, cases)


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
