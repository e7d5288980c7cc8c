#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What a program asks of ckpt by the functions of ckpt.h. The programs are not linked with the library:
the ckpt command brings it, or nobody does, and then every call is a harmless no-op."""

import signal
import sys

import harness

ROUNDS = 5
PLACES = ["main", "deep", "thread", "handler", "small alternate stack"]


class Api:
    """One program in a directory of its own, and what it says."""

    def __init__(self, setup, name):
        self.setup = setup
        self.cwd = setup.directory(name)
        self.program = setup.victim(name, self.cwd)

    def run(self, argv, stdout, status=0, stderr="", env=None):
        process = self.setup.start(argv, self.cwd, env=env)
        got = process.wait()
        said, errors = process.out.all().decode(errors="replace"), process.stderr()
        if got != status or said != stdout or errors != stderr:
            raise harness.Failure(f"{' '.join(map(str, argv))}: status {got} (wanted {status}), it says "
                                  f"{said!r} (wanted {stdout!r}), stderr {errors!r}")

    def ckpt(self, options, *words, **more):
        self.run([self.setup.ckpt, *options, self.program, *words], **more)

    def image(self, name="image.ckpt"):
        path = self.cwd / name
        harness.check_image(self.setup, path)
        return path


def without_library(setup):
    api = Api(setup, "api_ckpt")
    api.run([api.program], "no library\n" + "".join(f"{p}: went on\n" for p in PLACES) + "ok\n")


def sanitized(setup, name):
    if not (setup.victims / name).exists():
        raise harness.Skip(f"{name} could not be built here")
    ends_and_restarts(setup, name)


def ends_and_restarts(setup, name="api_ckpt"):
    """Each call ends the program; its image goes on to the next one. One image twice is twice the same."""
    api = Api(setup, name)
    api.ckpt(["-n", "image.ckpt"], stdout="")
    for place in PLACES:
        first = api.image().read_bytes()
        last = "ok\n" if place == PLACES[-1] else ""
        api.run(["./image.ckpt"], f"{place}: restarted\n{last}")
        if last:
            api.run(["./image.ckpt"], f"{place}: restarted\n{last}")
        elif first == api.image().read_bytes():
            raise harness.Failure(f"{place}: no new image")


def goes_on(setup):
    """With ckpt_config(continue); by LD_PRELOAD, too."""
    api = Api(setup, "api_ckpt")
    said = "".join(f"{p}: went on\n" for p in PLACES) + "ok\n"
    api.ckpt(["-n", "image.ckpt"], "continue", stdout=said)
    api.image()
    api.run(["./image.ckpt"], f"{PLACES[-1]}: restarted\nok\n")
    (api.cwd / "image.ckpt").unlink()
    library = setup.ckpt.parent.parent / "lib" / "libckpt.so"
    api.run([api.program, "continue"], said,
            env={"LD_PRELOAD": str(library), "CKPT_NAME": "image.ckpt"})
    api.image()


def hold(setup):
    api = Api(setup, "api_hold")
    api.ckpt(["-a", "USR1", "-n", "image.ckpt"], "image.ckpt", stdout="last release\n")
    api.image()
    api.run(["./image.ckpt"], "ok\n")
    (api.cwd / "image.ckpt").unlink()
    api.ckpt(["-a", "USR1", "-c", "-n", "image.ckpt"], "image.ckpt", "go on",
             stdout="last release\nok\n")


def config(setup):
    api = Api(setup, "api_config")
    api.ckpt(["-a", "USR1", "-c", "-n", "first.ckpt"], stdout="ok\n")


def two(setup):
    for other in ("same", "other.ckpt"):
        api = Api(setup, "api_two")
        api.ckpt(["-c", "-n", "configured.ckpt"], "first.ckpt", other, stdout="ok\n")
        if other != "same":
            # Within a namespace nobody can tell whether who wrote it still lives.
            (api.cwd / other).rename(api.cwd / "kept.ckpt")
        api.run(["./first.ckpt"], "ok\n")
        if other != "same":
            api.run(["./kept.ckpt"], "ok\n")
        if (api.cwd / "configured.ckpt").exists():
            raise harness.Failure("an image under the configured name, which nobody has asked for")


def forked(setup):
    api = Api(setup, "api_forked")
    process = setup.start([setup.ckpt, "-c", "-n", "image.ckpt", api.program, "parent.ckpt",
                           "child.ckpt"], api.cwd)
    if process.wait() != 0 or process.out.all() != b"ok\n":
        raise harness.Failure(f"status {process.status}: {process.out.all()!r} {process.stderr()!r}")
    api.run(["./parent.ckpt"], "ok\n")


def restart(setup):
    api = Api(setup, "api_restart")
    for _ in range(ROUNDS):
        api.ckpt(["-c", "-n", "image.ckpt"], "image.ckpt", "bad.ckpt", stdout="restarting\nok\n")


def timed(setup):
    for by, options, number in (("the signal", ["-c"], signal.SIGTSTP),
                                ("from outside", ["--on", "USR2=continue"], signal.SIGUSR2)):
        session = harness.Session(setup, by)
        session.IMAGE = "im"
        session.start(session.victim("api_timed"), *options)
        last = None
        for _ in range(5):
            session.process.signal(number)
            session.process.wait_until(lambda: harness.identity(session.cwd / "im") != last, "an image")
            last = harness.identity(session.cwd / "im")
        session.end()


def rights(setup):
    """A program that has given up root's rights has none in a function that root's restart calls."""
    if setup.drops:
        raise harness.Skip("needs root")
    api = Api(setup, "api_rights")
    api.cwd.chmod(0o777)
    api.ckpt(["-n", "image.ckpt"], stdout="")
    for identity in ("keep", "new"):
        api.run(["./image.ckpt", f"--identity={identity}"], "ok\n")


def body(setup):
    cases = [("without the library", without_library), ("ends and restarts", ends_and_restarts),
             ("goes on", goes_on), ("hold", hold), ("config", config), ("two at once", two),
             ("forked", forked), ("restart", restart), ("timed", timed),
             ("rights", rights)]
    for compiler in ("gcc", "clang"):
        for sanitizer in ("address", "thread", "undefined"):
            name = f"api_ckpt_{compiler}_{sanitizer}"
            cases.append((name, lambda setup, name=name: sanitized(setup, name)))
    harness.run_cases(setup, [(name, lambda case=case: case(setup)) for name, case in cases])


if __name__ == "__main__":
    sys.exit(harness.main(harness.parser(__doc__), body))
