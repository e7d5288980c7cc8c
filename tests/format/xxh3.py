# SPDX-License-Identifier: MIT
"""XXH3 with 64 bits, seed 0 and the default secret, from the xxHash specification. Slow, and with no
code in common with what it is compared with."""

import functools
import struct

SECRET = bytes.fromhex("""
b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f
cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c
3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8
a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364
eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e
2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e
""")
M = (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
P64_4, P64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5


def u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def fold(a, b):
    product = a * b
    return (product ^ (product >> 64)) & M


def avalanche(h):
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & M
    return h ^ (h >> 32)


def avalanche_64(h):
    h ^= h >> 33
    h = h * P64_2 & M
    h ^= h >> 29
    h = h * P64_3 & M
    return h ^ (h >> 32)


def rotated(h, n):
    return (h << n | h >> (64 - n)) & M


def mixed(data, at, secret):
    return fold(u64(data, at) ^ u64(SECRET, secret), u64(data, at + 8) ^ u64(SECRET, secret + 8))


def short(data):
    n = len(data)
    if n == 0:
        return avalanche_64(u64(SECRET, 56) ^ u64(SECRET, 64))
    if n <= 3:
        combined = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        return avalanche_64(combined ^ u32(SECRET, 0) ^ u32(SECRET, 4))
    if n <= 8:
        h = (u32(data, n - 4) + (u32(data, 0) << 32)) ^ u64(SECRET, 8) ^ u64(SECRET, 16)
        h ^= rotated(h, 49) ^ rotated(h, 24)
        h = h * 0x9FB21C651E98DF25 & M
        h ^= (h >> 35) + n
        h = h * 0x9FB21C651E98DF25 & M
        return h ^ (h >> 28)
    if n <= 16:
        low = u64(data, 0) ^ u64(SECRET, 24) ^ u64(SECRET, 32)
        high = u64(data, n - 8) ^ u64(SECRET, 40) ^ u64(SECRET, 48)
        swapped = int.from_bytes(low.to_bytes(8, "little"), "big")
        return avalanche((n + swapped + high + fold(low, high)) & M)
    h = n * P64_1
    if n <= 128:
        for i in range((n - 1) // 32 + 1):
            h += mixed(data, 16 * i, 32 * i) + mixed(data, n - 16 * (i + 1), 32 * i + 16)
        return avalanche(h & M)
    for i in range(8):
        h += mixed(data, 16 * i, 16 * i)
    h = avalanche(h & M)
    for i in range(8, n // 16):
        h += mixed(data, 16 * i, 16 * (i - 8) + 3)
    return avalanche((h + mixed(data, n - 16, 136 - 17)) & M)


STRIPE = struct.Struct("<8Q")
KEYS = [STRIPE.unpack_from(SECRET, 8 * i) for i in range(16)]
SCRAMBLE = STRIPE.unpack_from(SECRET, 192 - 64)
LAST = STRIPE.unpack_from(SECRET, 192 - 64 - 7)
MERGE = STRIPE.unpack_from(SECRET, 11)
LOW = (1 << 32) - 1


def long(data):
    n = len(data)
    lanes = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]

    def add(at, keys):
        a, b, c, d, e, f, g, h = words = STRIPE.unpack_from(data, at)
        for i, (word, other, key) in enumerate(zip(words, (b, a, d, c, f, e, h, g), keys)):
            key ^= word
            lanes[i] += other + (key & LOW) * (key >> 32)

    blocks = (n - 1) // 1024
    for block in range(blocks):
        for i in range(16):
            add(block * 1024 + 64 * i, KEYS[i])
        for i in range(8):
            lane = lanes[i] & M
            lanes[i] = (lane ^ (lane >> 47) ^ SCRAMBLE[i]) * P32_1 & M
    for i in range((n - 1 - 1024 * blocks) // 64):
        add(blocks * 1024 + 64 * i, KEYS[i])
    add(n - 64, LAST)
    h = n * P64_1
    for i in range(0, 8, 2):
        h += fold(lanes[i] & M ^ MERGE[i], lanes[i + 1] & M ^ MERGE[i + 1])
    return avalanche(h & M)


@functools.lru_cache(maxsize=4096)
def checksum(data):
    """Of bytes; who asks for the same again gets the answer at once."""
    return short(data) if len(data) <= 240 else long(data)
