// SPDX-License-Identifier: MIT
//
// Descriptors as the image has them. Three things that programs take for one are kept apart, as
// the kernel does: a descriptor (a number with close-on-exec), the open file it refers to (offset
// and flags, shared by dup), and the locks on the file below.
#pragma once

#include "ckpt/format/record.hpp"

namespace ckpt::state {

enum class file_kind : u32 {
  regular = 1,      // reopened by path
  deleted = 2,      // a file without a name, memfd too: its contents travel in the image
  directory = 3,    // reopened by path
  device = 4,       // null, zero, full, random, urandom, tty: reopened by path
  outside = 5,      // terminal, pipe or socket on 0–2: comes from whoever restarts
  kernel_file = 6,  // below /proc or /sys: reopened by path, never compared
  pipe = 7,         // one end of a pipe that is all the program's
  eventfd = 9,      // 9 to 13: made anew from the record of its own that each has
  timerfd = 10,
  signalfd = 11,
  epoll = 12,
  socket = 13,  // of socketpair(2), with its other end in the program or closed
};
constexpr bool legal(file_kind k) {
  return (k >= file_kind::regular && k <= file_kind::pipe) ||
         (k >= file_kind::eventfd && k <= file_kind::socket);
}
/// Neither a path nor an offset brings it back.
constexpr bool is_object(file_kind k) {
  return k >= file_kind::eventfd && k <= file_kind::socket;
}

enum class file_mark : u32 { as_given = 1 };
constexpr u32 all_of(file_mark) { return 1; }

struct open_file {
  static constexpr auto record = format::record_type::open_file;
  wire::le<u32> id;
  wire::le<file_kind> kind;
  wire::le<u32> flags;
  wire::le<u32> mode;
  wire::le<i64> offset;
  wire::le<u64> size;
  wire::le<i64> modified_ns;
  wire::le<u64> device;
  wire::le<u64> inode;
  wire::le<u64> content;
  wire::le<u64> head_checksum;
  wire::le<u64> tail_checksum;
  wire::le<u32> stdio;
  wire::flags<file_mark> marks;
};

struct descriptor {
  static constexpr auto record = format::record_type::descriptor;
  wire::le<i32> number;
  wire::le<u32> open_file;
  wire::le<u32> flags;
  wire::reserved<4> reserved;
};

enum class lock_kind : u32 { posix = 1, open_file_description = 2, flock = 3 };
constexpr bool legal(lock_kind k) { return k >= lock_kind::posix && k <= lock_kind::flock; }

struct file_lock {
  static constexpr auto record = format::record_type::file_lock;
  wire::le<u32> open_file;
  wire::le<lock_kind> kind;
  wire::le<u32> exclusive;
  wire::reserved<4> reserved;
  wire::le<u64> start;
  wire::le<u64> length;
};

/// A pipe within the program; the open files that are its ends have its inode number.
struct pipe_content {
  static constexpr auto record = format::record_type::pipe_content;
  wire::le<u64> inode;
  wire::le<u64> capacity;
  wire::le<u32> packets;
  wire::reserved<4> reserved;
};

/// The bytes at each end of a file that its fingerprint covers.
inline constexpr u64 fingerprint_bytes = 4096;

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::open_file, id, kind, flags, mode, offset, size, modified_ns,
                        device, inode, content, head_checksum, tail_checksum, stdio, marks);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::descriptor, number, open_file, flags, reserved);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::file_lock, open_file, kind, exclusive, reserved, start,
                        length);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::pipe_content, inode, capacity, packets, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::open_file> = description<14>{
    "open_file",
    "One open file description (open(2)). The tail is its path.",
    {"number by which descriptors and locks refer to it, counted from 0",
     "1 regular, 2 deleted, 3 directory, 4 device, 5 outside, 6 kernel file, 7 end of a pipe, "
     "9 eventfd, 10 timerfd, 11 signalfd, 12 epoll, 13 socket",
     "status flags, as F_GETFL of fcntl(2) gives them", "st_mode", "file offset",
     "st_size at the checkpoint", "st_mtim in nanoseconds", "st_dev", "st_ino",
     "number of the shared_object that it opens, 0 for none",
     "XXH3-64 of the first 4096 bytes, 0 when they could not be read",
     "XXH3-64 of the last 4096 bytes, 0 when they could not be read",
     "for an outside file: which of descriptors 0, 1, 2 it was",
     "1 the program itself has put the path there: whatever it leads to is taken as it is"}};
template <>
inline constexpr auto describe<state::descriptor> = description<4>{
    "descriptor",
    "One file descriptor.",
    {"the number", "id of its open_file", "FD_CLOEXEC 1", "zero"}};
template <>
inline constexpr auto describe<state::file_lock> = description<6>{
    "file_lock",
    "One lock the program held.",
    {"id of an open_file of that file", "1 fcntl F_SETLK, 2 fcntl F_OFD_SETLK, 3 flock(2)",
     "1 for a write or exclusive lock", "zero", "first byte", "bytes, 0 to the end of the file"}};
template <>
inline constexpr auto describe<state::pipe_content> = description<4>{
    "pipe_content",
    "A pipe that is all the program's. The tail is what has been written and not yet read.",
    {"inode number of the open_file records that are its ends", "F_GETPIPE_SZ, in bytes",
     "1 in packet mode (O_DIRECT): the tail has for each packet its length, 4 bytes, and its bytes",
     "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {
static_assert(wire::laid_out_in<pipe_content, 24>());
static_assert(wire::laid_out_in<open_file, 88>());
static_assert(wire::laid_out_in<descriptor, 16>());
static_assert(wire::laid_out_in<file_lock, 32>());
}  // namespace ckpt::state
