# SPDX-License-Identifier: MIT
"""Works in epochs; between the third and the fourth it can be put away and copied."""

import ctypes
import random
import sys


def checkpoint(name):
    """True in a copy that has been restarted. Without ckpt, or when it cannot be done, nothing."""
    program = ctypes.CDLL(None)
    if not hasattr(program, "ckpt_ckpt"):
        return False
    if program.ckpt_ckpt(name.encode()) != 0:
        why = ctypes.create_string_buffer(256)
        program.ckpt_error(why, ctypes.c_size_t(len(why)))
        print("no checkpoint:", why.value.decode(), file=sys.stderr)
        return False
    return program.ckpt_restarted() == 1


def reseed():
    """Copies of one image would otherwise all draw the same numbers."""
    own = ctypes.create_string_buffer(16)
    if ctypes.CDLL(None).ckpt_instance(own) == 0:
        random.seed(own.raw)


random.seed(1)
for epoch in range(1, 7):
    print("epoch", epoch, sum(i * i for i in range(100000)), flush=True)
    if epoch == 3 and checkpoint("train.ckpt"):
        reseed()
print("drawn", random.random(), flush=True)
