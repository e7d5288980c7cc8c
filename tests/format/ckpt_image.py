#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A second reader of images, written from docs/FORMAT.md alone: the tables are read from there, the
rules are those of its "What must hold", in that order. What it cannot know from there is missing there.

    ckpt_image.py FORMAT.md IMAGE...    says of each image whether it is whole"""

import re
import struct
import sys

import xxh3

PAGE = 4096
HEADER_AT = 512
NO_PEER = 0xffffffff


class Refused(Exception):
    """Not an image that may be used; the text says why."""


def require(so, why):
    if not so:
        raise Refused(why)


# --- the tables ----------------------------------------------------------------------------------


class Field:
    def __init__(self, offset, size, kind, name):
        self.offset, self.size, self.kind, self.name = offset, size, kind, name
        self.names = {}

    def decode(self, raw):
        if self.kind.startswith("le i"):
            return int.from_bytes(raw, "little", signed=True)
        if self.kind.startswith("le "):
            return int.from_bytes(raw, "little")
        return raw

    def legal(self, value):
        if self.kind.startswith("reserved"):
            return not any(value)
        if self.kind.startswith("text"):
            return not any(value[value.find(b"\0"):]) if b"\0" in value else True
        if self.kind.endswith(" enum"):
            return self.name in ("type", "machine") or value in self.names
        if self.kind.endswith(" flags"):
            return value & ~sum(self.names) == 0
        return True


class Structure:
    def __init__(self, name):
        self.name, self.fields, self.size = name, [], 0

    def decode(self, raw):
        """The fields of bytes that may be longer or shorter; a field with an illegal value refuses."""
        raw = bytes(raw[:self.size]).ljust(self.size, b"\0")
        record = Record()
        for field in self.fields:
            value = field.decode(raw[field.offset:field.offset + field.size])
            require(field.legal(value), f"{self.name}.{field.name}: illegal value {value!r}")
            setattr(record, field.name, value)
        return record


class Record:
    """The fields of one structure, and of a record its tail."""

    tail = b""


ROW = re.compile(r"\| (\d+) \| (\d+) \| ([^|]*) \| ([^|]*) \|")
END = re.compile(r"\| (\d+) \| \| \| \| end \|")
TYPE = re.compile(r"\| (\d+) \| \[(\w+)\]\(#\w+\) \|")
NAMES = re.compile(r"`(\w+)`: (\d+ `\w+`.*)")
HEADING = re.compile(r"#+ (\w+)$")


class Format:
    """What the document says of structures."""

    def __init__(self, text):
        self.structures, self.types = {}, {}
        current = None
        for line in text.splitlines():
            if found := HEADING.match(line):
                current = self.structures.setdefault(found[1], Structure(found[1]))
            elif line.startswith("#"):
                current = None
            elif found := TYPE.match(line):
                self.types[int(found[1])] = found[2]
            elif current and (found := ROW.match(line)):
                current.fields.append(Field(int(found[1]), int(found[2]), found[3],
                                            found[4].strip("`")))
            elif current and (found := END.match(line)):
                current.size = int(found[1])
            elif current and (found := NAMES.match(line)):
                for field in current.fields:
                    if field.name == found[1]:
                        field.names = {int(n): name for n, name
                                       in re.findall(r"(\d+) `(\w+)`", found[2])}
        for name in ["file_header", "trailer", "record_header", *self.types.values()]:
            end = 0
            for field in self.structures[name].fields:
                assert field.offset == end, f"{name}.{field.name}"
                end += field.size
            assert 0 < end == self.structures[name].size, name

    def decode(self, name, raw):
        return self.structures[name].decode(raw)


# --- an image ------------------------------------------------------------------------------------


def page_up(n):
    return (n + PAGE - 1) // PAGE * PAGE


def aligned(*numbers):
    return all(n % PAGE == 0 for n in numbers)


def messages(tail):
    """The messages of a tail, None when it has others."""
    found, at = [], 0
    while at < len(tail):
        length, = struct.unpack_from("<I", tail, at) if at + 4 <= len(tail) else (len(tail),)
        at += 4
        if length > len(tail) - at:
            return None
        found.append(tail[at:at + length])
        at += length
    return found


class Image:
    """An image whose file, header, records and rules are good; whole() looks at the rest."""

    def __init__(self, form, data):
        self.format, self.data = form, data
        self.check_file()
        self.records = {name: [] for name in form.types.values()}
        self.check_records()
        self.check_memory()

    def check_file(self):
        data = self.data
        head = self.format.structures["file_header"]
        require(len(data) >= HEADER_AT + head.size, "too short")
        raw = data[HEADER_AT:HEADER_AT + head.size]
        signature, major = raw[:8], int.from_bytes(raw[8:10], "little")
        require(signature == bytes.fromhex("89636b70740d0a1a"), "signature")
        require(major == 1, f"major version {major}")
        self.header = h = head.decode(raw)
        zeroed = bytearray(raw)
        at = next(f.offset for f in head.fields if f.name == "header_checksum")
        zeroed[at:at + 8] = bytes(8)
        require(xxh3.checksum(bytes(zeroed)) == h.header_checksum, "checksum of the header")
        require(h.machine == 62 and h.page_shift == 12, "another machine")
        require(h.features == 0, "being updated")
        require(len(data) == h.image_size, "size of the file")
        require(aligned(h.window_address, h.window_size) and h.window_size > 0 and
                h.window_address + h.window_size <= 1 << 56, "window")
        require(h.header_size >= head.size and h.metadata_offset >= HEADER_AT + h.header_size,
                "header_size")
        require(aligned(h.metadata_offset) and h.metadata_size <= 4294967296, "metadata")
        require(h.data_offset == page_up(h.metadata_offset + h.metadata_size), "data_offset")
        require(aligned(h.data_size), "data_size")
        require(aligned(h.block_size) and PAGE <= h.block_size <= 1 << 24, "block_size")
        blocks = -(-h.data_size // h.block_size)
        require(h.table_offset == h.data_offset + h.data_size and h.table_size == 8 * blocks,
                "table")
        tail = self.format.structures["trailer"]
        end = h.table_offset + h.table_size
        require(h.image_size == end + tail.size, "image_size")
        raw = data[end:]
        t = tail.decode(raw)
        at = next(f.offset for f in tail.fields if f.name == "trailer_checksum")
        zeroed = bytearray(raw)
        zeroed[at:at + 8] = bytes(8)
        require(t.signature == bytes.fromhex("74706b630d0a1a89") and t.id == h.id and
                t.image_size == h.image_size and
                xxh3.checksum(bytes(zeroed)) == t.trailer_checksum, "trailer")
        require(xxh3.checksum(data[h.table_offset:end]) == t.table_checksum, "checksum of the table")
        restarter = data[:HEADER_AT] + data[HEADER_AT + head.size:h.metadata_offset]
        require(xxh3.checksum(restarter) == h.restarter_checksum, "checksum of the restarter")
        self.metadata = data[h.metadata_offset:h.metadata_offset + h.metadata_size]
        require(xxh3.checksum(self.metadata) == h.metadata_checksum, "checksum of the metadata")

    def check_records(self):
        envelope = self.format.structures["record_header"]
        metadata, at = self.metadata, 0
        while at < len(metadata):
            require(len(metadata) - at >= envelope.size, "a record is cut off")
            head = envelope.decode(metadata[at:at + envelope.size])
            body = at + envelope.size
            end = body + head.size
            padded = -(-end // 8) * 8
            require(head.fixed_size <= head.size and padded <= len(metadata), "a record is cut off")
            require(not any(metadata[end:padded]), "padding of a record")
            name = self.format.types.get(head.type)
            if name:
                record = self.format.decode(name, metadata[body:body + head.fixed_size])
                record.tail = metadata[body + head.fixed_size:end]
                getattr(self, "check_" + name, lambda record: None)(record)
                self.records[name].append(record)
            else:
                require(not head.flags & 1, f"unknown type {head.type}")
            at = padded

    # Each is called before the record is among the others.

    def is_open_file(self, number):
        return number < len(self.records["open_file"])

    def check_segment(self, s):
        h, end = self.header, s.address + s.length
        before = self.records["segment"][-1] if self.records["segment"] else None
        require(aligned(s.address, s.length) and s.length > 0 and s.address >= PAGE and
                end <= 1 << 56, "address of a segment")
        require(not before or s.address >= before.address + before.length, "order of segments")
        require(end <= h.window_address or s.address >= h.window_address + h.window_size,
                "a segment in the window")
        require(s.kind != 5 or s.length <= 131072, "a vDSO of that size")
        require(s.object <= 1024 and (s.object != 0) == (s.kind == 7), "object of a segment")
        if s.kind == 7:
            require(aligned(s.file_offset) and s.file_offset + s.length <= 1 << 62,
                    "file_offset of a segment")

    def check_shared_object(self, o):
        require(o.number == len(self.records["shared_object"]) + 1 <= 1024 and o.size <= 1 << 62,
                "shared_object")

    def check_extents(self, t):
        tables = self.records["extents"]
        if t.object != 0:
            require(t.object == sum(other.object != 0 for other in tables) + 1, "order of tables")
        require(len(t.tail) == t.count * 24, "size of a table of extents")
        t.extents, end = [], 0
        position = sum(e.length for other in tables for e in other.extents)
        for i in range(t.count):
            e = self.format.decode("extent", t.tail[24 * i:24 * i + 24])
            require(aligned(e.address, e.length) and e.length > 0 and e.address >= end and
                    e.address + e.length <= 1 << 62, "address of an extent")
            require(e.data == position and position + e.length <= self.header.data_size,
                    "data of an extent")
            end = e.address + e.length
            position += e.length
            t.extents.append(e)

    def check_trap_range(self, t):
        before = self.records["trap_range"][-1:]
        require(aligned(t.address, t.length) and t.length > 0 and
                all(t.address >= b.address + b.length for b in before), "trap_range")
        for address in (self.header.agent_entry, (self.header.agent_stack - 16) % (1 << 64)):
            require(not t.address <= address < t.address + t.length, "the agent in a trap_range")

    def check_open_file(self, f):
        require(f.id == len(self.records["open_file"]) and f.stdio <= 2, "order of open files")
        require(not f.marks & 1 or f.kind == 1, "as_given")

    def check_descriptor(self, d):
        before = self.records["descriptor"][-1].number if self.records["descriptor"] else -1
        require(before < d.number <= 1 << 30 and self.is_open_file(d.open_file), "descriptor")

    def check_file_lock(self, l):
        require(self.is_open_file(l.open_file), "file_lock")

    def check_pipe_content(self, p):
        require(p.packets == 0 or p.packets == 1 and messages(p.tail) is not None, "pipe_content")

    def check_event_counter(self, e):
        require(self.is_open_file(e.open_file) and e.semaphore <= 1 and e.count < (1 << 64) - 1,
                "event_counter")

    def check_timer_file(self, t):
        require(self.is_open_file(t.open_file) and min(t.due_ns, t.due_at_ns, t.interval_ns) >= 0,
                "timer_file")

    def check_signal_file(self, s):
        require(self.is_open_file(s.open_file), "signal_file")

    def check_epoll(self, e):
        require(self.is_open_file(e.open_file) and len(e.tail) == e.count * 24, "epoll")
        for i in range(e.count):
            # An element of a tail has no rules but those written; its reserved bytes have none.
            number, file = struct.unpack_from("<iI", e.tail, 24 * i)
            require(0 <= number <= 1 << 30 and self.is_open_file(file), "epoll_entry")

    def check_socket_end(self, s):
        require(self.is_open_file(s.open_file) and s.type in (1, 2, 5) and s.shut <= 3 and
                s.peer != s.open_file and (s.peer == NO_PEER or self.is_open_file(s.peer)) and
                messages(s.tail) is not None, "socket_end")

    def check_signal_action(self, a):
        require(1 <= a.signal <= 64, "signal_action")

    check_pending_signal = check_signal_action

    def check_posix_timer(self, t):
        require(min(t.id, t.interval_ns, t.overrun) >= 0 and t.state <= 2 and
                (t.notify == 1 or 1 <= t.signal <= 64), "posix_timer")

    def check_thread_settings(self, t):
        require(len(t.tail) <= 1024, "thread_settings")

    def check_credentials(self, c):
        require(c.group_count <= 65536 and len(c.tail) == 4 * c.group_count, "credentials")

    def check_memory(self):
        r = self.records
        for name in ("host", "process", "memory_layout", "cpu"):
            require(len(r[name]) == 1, f"{len(r[name])} records {name}")
        memory = [t for t in r["extents"] if t.object == 0]
        require(len(memory) == 1, "tables of the program's memory")
        require(len(r["thread"]) == r["process"][0].thread_count >= 1, "thread_count")
        contents = [t for t in r["extents"] if t.object != 0]
        objects = r["shared_object"]
        require(all(s.object <= len(objects) for s in r["segment"]), "an object is missing")
        require(all(f.content <= len(contents) for f in r["open_file"]), "contents are missing")
        require(sum(e.length for t in r["extents"] for e in t.extents) == self.header.data_size,
                "data that no extent has")
        require(self.lie_within(memory[0].extents, (6, 7)), "an extent outside of segments")
        require(self.lie_within(r["trap_range"], (5, 6)), "a trap_range outside of segments")
        beyond = [t for t in r["trap_range"] if t.kind == 2]
        require(not self.overlap(memory[0].extents, beyond), "an extent beyond the end of a file")
        if objects:
            require(len(objects) == len(contents), "tables of objects")
            for o, t in zip(objects, contents):
                require(all(e.address + e.length <= page_up(o.size) for e in t.extents[-1:]),
                        "contents larger than their object")

    @staticmethod
    def overlap(some, others):
        """Both ascend."""
        others = iter(others)
        other = next(others, None)
        for each in some:
            while other and other.address + other.length <= each.address:
                other = next(others, None)
            if other and other.address < each.address + each.length:
                return True
        return False

    def lie_within(self, ranges, kinds_without):
        """Both ascend."""
        segments = iter(self.records["segment"])
        s = next(segments, None)
        for each in ranges:
            while s and s.address + s.length <= each.address:
                s = next(segments, None)
            if not s or each.address < s.address or s.kind in kinds_without or \
                    each.address + each.length > s.address + s.length:
                return False
        return True

    def whole(self):
        """What a verification and a restart look at besides."""
        h, data = self.header, self.data
        require(not any(data[h.metadata_offset + h.metadata_size:h.data_offset]), "padding")
        require(h.agent_stack % 16 == 0, "agent_stack")
        for address, right in ((h.agent_entry, 4), ((h.agent_stack - 16) % (1 << 64), 2)):
            require(any(s.address <= address < s.address + s.length and s.protection & right
                        for s in self.records["segment"] if s.kind < 5), "no agent")
        for i in range(h.table_size // 8):
            begin = h.data_offset + i * h.block_size
            block = data[begin:min(begin + h.block_size, h.table_offset)]
            wanted, = struct.unpack_from("<Q", data, h.table_offset + 8 * i)
            require(xxh3.checksum(block) == wanted, f"checksum of block {i}")
        return self

    def memory(self, address, length):
        """Bytes of the program's memory; what has no extent is zero."""
        found = bytearray(length)
        for t in self.records["extents"]:
            for e in t.extents if t.object == 0 else ():
                begin, end = max(address, e.address), min(address + length, e.address + e.length)
                if begin < end:
                    at = self.header.data_offset + e.data + begin - e.address
                    found[begin - address:end - address] = self.data[at:at + end - begin]
        return bytes(found)


def main(arguments):
    with open(arguments[0], encoding="utf-8") as file:
        form = Format(file.read())
    failed = 0
    for path in arguments[1:]:
        with open(path, "rb") as file:
            data = file.read()
        try:
            image = Image(form, data).whole()
            print(f"{path}: whole, format {image.header.major}.{image.header.minor}, "
                  f"{sum(map(len, image.records.values()))} records")
        except Refused as why:
            failed = 1
            print(f"{path}: refused: {why}")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
