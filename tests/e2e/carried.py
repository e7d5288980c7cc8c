#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Victims whose images are carried elsewhere while they go on, from copies of them: they lose nothing by
being copied, and what is restarted from such an image has lost nothing either. A sample of those that are
named, drawn by the seed, or all of them with --full."""

import os
import sys

import harness
import victim

SAMPLE = 8


class Carried(victim.Driver):
    """By ckpt-transfer, to a command that keeps them."""

    def begin(self, going_on=True):
        self.cwd = self.setup.directory("work")
        self.program = self.setup.victim(self.name, self.cwd)
        self.stop, self.image = self.cwd / "stop", self.cwd / "victim.ckpt"
        self.input, self.feed = os.pipe()
        self.records = 0
        # Some have another directory by then.
        keep = self.cwd / "keep"
        keep.write_text(f"#!/bin/sh\ncd {self.cwd} && cat >part && chmod 700 part && mv part victim.ckpt\n")
        keep.chmod(0o755)
        return self.leg([self.setup.ckpt, "-n", f"exec:{keep}", "-c", self.program, self.stop,
                         *victim.ARGUMENTS], b"ready\n")

    def under_way(self):
        """Until its process has ended, the next image may not begin."""
        for pid in self.setup.strays():
            if harness.read_proc(pid, "comm") == "ckpt-transfer\n" and ") Z" not in harness.read_proc(pid, "stat"):
                return True
        return False

    def wait(self, process, condition, what):
        try:
            process.wait_until(condition, what)
        except harness.Failure as failure:
            others = [pid for pid in self.setup.strays() if pid != process.pid]
            raise harness.Failure("\n".join([str(failure), *map(harness.describe, others)])) from None

    def rounds(self, number):
        process = self.begin()
        for _ in range(number):
            self.moment()
            before = harness.identity(self.image) if self.image.exists() else None
            process.signal(harness.TRIGGER)
            self.wait(process, lambda: self.image.exists() and harness.identity(self.image) != before, "an image")
            self.wait(process, lambda: not self.under_way(), "the end of ckpt-transfer")
            harness.check_image(self.setup, self.image)
        self.moment()
        self.output = b""
        self.finish(process, "after its images")
        self.goes_on_twice(str(self.image))


def body(setup):
    names = setup.options.names
    if not setup.options.full:
        names = setup.random.sample(names, min(SAMPLE, len(names)))
    harness.run_cases(setup, [(name, lambda n=name: Carried(setup, n).rounds(4 if setup.options.full else 2))
                              for name in names])


if __name__ == "__main__":
    made = harness.parser(__doc__)
    made.add_argument("--full", action="store_true")
    made.add_argument("names", nargs="+")
    sys.exit(harness.main(made, body))
