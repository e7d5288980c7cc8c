# SPDX-License-Identifier: MIT
"""An image taken apart, so that a test can change what it likes and put it together again with every
checksum and offset right, but for those that the change is about."""

import struct

import ckpt_image
import xxh3

SIZES = {2: "<H", 4: "<I", 8: "<Q"}


class Parts:
    def __init__(self, form, data):
        self.form = form
        image = ckpt_image.Image(form, data).whole()
        h = image.header
        self.head = form.structures["file_header"]
        self.header = {f.name: getattr(h, f.name) for f in self.head.fields}
        self.restarter = data[:h.metadata_offset]
        self.data = data[h.data_offset:h.table_offset]
        self.records = []       # [type, flags, fixed_size, size, body]
        at = 0
        while at < len(image.metadata):
            kind, flags, fixed, size = struct.unpack_from("<HHIQ", image.metadata, at)
            body = bytearray(image.metadata[at + 16:at + 16 + size])
            self.records.append([kind, flags, fixed, size, body])
            at += 16 + -(-size // 8) * 8
        self.overrides = {}

    def of(self, name):
        """The indices of the records of a type."""
        return [i for i, r in enumerate(self.records) if self.form.types.get(r[0]) == name]

    def field(self, structure, name):
        return next(f for f in self.form.structures[structure].fields if f.name == name)

    def get(self, index, name):
        f = self.field(self.form.types[self.records[index][0]], name)
        return int.from_bytes(self.records[index][4][f.offset:f.offset + f.size], "little")

    def set(self, index, name, value):
        f = self.field(self.form.types[self.records[index][0]], name)
        self.records[index][4][f.offset:f.offset + f.size] = (
            value % (1 << 8 * f.size)).to_bytes(f.size, "little")

    def table(self, index):
        """The elements of a table of extents, as lists; put back by set_table."""
        raw = self.records[index][4][16:]
        return [list(struct.unpack_from("<QQQ", raw, at)) for at in range(0, len(raw), 24)]

    def set_table(self, index, extents, count=None):
        body = self.records[index][4]
        body[16:] = b"".join(struct.pack("<QQQ", *(n % (1 << 64) for n in e)) for e in extents)
        self.set(index, "count", len(extents) if count is None else count)
        self.records[index][3] = len(body)

    def build(self):
        metadata = bytearray()
        for kind, flags, fixed, size, body in self.records:
            metadata += struct.pack("<HHIQ", kind, flags, fixed, size) + body
            metadata += bytes(-len(metadata) % 8)
        h = dict(self.header)
        blocks = range(0, len(self.data), h["block_size"])
        table = b"".join(struct.pack("<Q", xxh3.checksum(bytes(self.data[i:i + h["block_size"]])))
                         for i in blocks)
        h["metadata_size"] = len(metadata)
        h["data_offset"] = ckpt_image.page_up(h["metadata_offset"] + len(metadata))
        h["data_size"] = len(self.data)
        h["table_offset"] = h["data_offset"] + len(self.data)
        h["table_size"] = len(table)
        h["image_size"] = h["table_offset"] + len(table) + 48
        h["metadata_checksum"] = xxh3.checksum(bytes(metadata))
        h["header_checksum"] = 0
        padding = bytes(h["data_offset"] - h["metadata_offset"] - len(metadata))
        h.update(self.overrides)
        raw = self.pack_header(h)
        h["header_checksum"] = xxh3.checksum(raw)
        raw = self.pack_header(h)
        signature = bytes.fromhex("74706b630d0a1a89")
        trailer = signature + h["id"] + struct.pack("<QQQ", h["image_size"] % (1 << 64),
                                                    xxh3.checksum(table), 0)
        trailer = trailer[:40] + struct.pack("<Q", xxh3.checksum(trailer))
        return (self.restarter[:512] + raw + self.restarter[512 + len(raw):] + bytes(metadata) +
                padding + bytes(self.data) + table + trailer)

    def pack_header(self, h):
        raw = bytearray(self.head.size)
        for f in self.head.fields:
            value = h[f.name]
            if not isinstance(value, bytes):
                value = (value % (1 << 8 * f.size)).to_bytes(f.size, "little")
            raw[f.offset:f.offset + f.size] = value
        return bytes(raw)
