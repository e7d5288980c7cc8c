#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One victim: a program that sets a state up, is checkpointed at random moments (and restarted, or
left to go on), and then says itself what it has lost."""

import os
import sys
import time

import harness

# An argument with nothing in it and one with bytes that no encoding knows: see identity.cpp.
ARGUMENTS = ["", os.fsdecode(b"last \xff\n word"), "3"]
ENVIRONMENT = {"VICTIM_VALUE": "kept = \u00e4 \"quoted\""}
ARMED_LIMIT = 30
LARGEST = 192 << 20     # no victim has this much in memory


class Driver:
    """Takes one victim through its rounds."""

    def __init__(self, setup, name, alone=False):
        self.setup, self.name = setup, name
        self.alone = alone      # started by itself: it was linked with the agent
        self.records = 0
        self.fed = name == "wait_read_pipe"

    def begin(self, going_on=False):
        self.cwd = self.setup.directory("work")
        self.program = self.setup.victim(self.name, self.cwd)
        self.stop = self.cwd / "stop"
        self.image = self.cwd / "victim.ckpt"
        # Standard input is a pipe from outside that stays open and, but for one victim, silent.
        self.input, self.feed = os.pipe()
        self.records = 0
        self.output = b""
        command, environment = [self.setup.ckpt, "-n", "victim.ckpt"], {}
        if going_on:
            command.append("-c")
        if self.alone:
            command = []
            environment = {"CKPT_NAME": "victim.ckpt", "CKPT_CONTINUE": str(int(going_on))}
        return self.leg([*command, self.program, self.stop, *ARGUMENTS], b"ready\n", environment)

    def leg(self, argv, wanted=None, environment=None):
        process = self.setup.start(argv, self.cwd, stdin=self.input,
                                   env=ENVIRONMENT | (environment or {}))
        if wanted:
            if not process.out.wait_for(wanted, 20) and process.ended(1):
                text = process.out.all()
                if process.status == harness.SKIPPED:
                    raise harness.Skip(text.decode().strip())
            process.wait_output(wanted)
        process.wait_armed()
        return process

    def tell(self):
        if self.fed:
            os.write(self.feed, b"%07d\n" % self.records)
            self.records += 1

    def moment(self):
        """A random moment; two in three are short, to catch what has only just been restored."""
        chosen = self.setup.random
        time.sleep(chosen.choice([chosen.uniform(0, 0.005), chosen.uniform(0, 0.03),
                                  chosen.uniform(0.02, 0.15)]))
        if chosen.random() < 0.7:
            self.tell()

    def check_size(self):
        stored = os.stat(self.image).st_blocks * 512
        if stored > LARGEST:
            raise harness.Failure(f"the image takes {stored >> 20} MiB")

    def finish(self, process, what):
        """Asks the victim to look at itself."""
        self.stop.touch()
        if self.fed:
            self.tell()
        status = process.wait(60)
        self.output += process.out.all()
        stderr = process.stderr()
        text = self.output.decode(errors="replace")
        if status != 0 or text != "ready\nok\n":
            raise harness.Failure(f"{what}: status {status}, stderr {stderr!r}, it says:\n{text}")
        if stderr:
            raise harness.Failure(f"{what}: stderr has {stderr!r}")
        os.close(self.input)
        os.close(self.feed)

    def exit_rounds(self, rounds):
        process = self.begin()
        for number in range(1, rounds + 1):
            self.moment()
            what = f"round {number} (exit and restart)"
            harness.checkpoint_and_exit(process, self.image, what)
            self.output += process.out.all()
            harness.check_image(self.setup, self.image)
            self.check_size()
            self.tell()
            process = self.leg(["./victim.ckpt"])
        self.moment()
        self.finish(process, "after its last restart")

    def continue_rounds(self, rounds):
        process = self.begin(going_on=True)
        for number in range(1, rounds + 1):
            self.moment()
            harness.checkpoint_and_continue(process, self.image, f"round {number} (-c)")
        self.moment()
        self.finish(process, "after its checkpoints with -c")
        self.goes_on_twice("./victim.ckpt")

    def goes_on_twice(self, image):
        """The image of a program that has gone on is as good as any, here and now."""
        if self.fed:
            return      # what it has read since is no longer in the pipe
        self.stop.unlink()
        self.input, self.feed = os.pipe()
        self.output = b"ready\n"
        self.finish(self.leg([image]), "from the image of a program that went on")


def body(setup):
    driver = Driver(setup, setup.options.victim, setup.options.alone)
    rounds = setup.options.rounds
    setup.random.seed(setup.seed)
    try:
        driver.exit_rounds(rounds)
        if rounds != 0:     # with none, the victim only shows that it is well
            driver.continue_rounds(rounds)
    except harness.Ended as ended:
        raise harness.Failure(f"it ended on its own, with {ended}: "
                              f"{driver.output.decode(errors='replace')}") from None
    setup.check_nothing_left()
    print(f"{driver.name}: ok")


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--victim", required=True)
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--alone", action="store_true", help="without the ckpt command")
    sys.exit(harness.main(made, body))
