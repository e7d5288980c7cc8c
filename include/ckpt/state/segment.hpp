// SPDX-License-Identifier: MIT
//
// Memory: segments (one per mapping of the program) and extents (the runs of pages whose bytes the
// image holds). A page of a segment that no extent names is zero. How a segment is mapped again is
// the restarter's business (restart/memory.hpp), how it is captured the helper's
// (frontends/agent/capture_memory.hpp).
#pragma once

#include "ckpt/format/record.hpp"
#include "ckpt/sys/abi.hpp"

namespace ckpt::state {

/// PROT_* as mmap(2) takes them.
enum class protection : u32 { read = 1, write = 2, execute = 4 };
constexpr u32 all_of(protection) { return 7; }

/// What a segment was, which decides how it comes back.
enum class segment_kind : u32 {
  anonymous = 1,     // private memory without a file
  private_file = 2,  // MAP_PRIVATE of a file: comes back as anonymous memory with the same bytes
  shared_file = 3,   // MAP_SHARED of a file that the program cannot write: likewise
  stack = 4,         // grows down, comes back so
  vdso = 5,          // the kernel's code page: moved or re-linked
  vvar = 6,          // the kernel's data pages: moved
  shared = 7,        // part of a shared_object, which the agent maps again
};
constexpr bool legal(segment_kind k) {
  return k >= segment_kind::anonymous && k <= segment_kind::shared;
}

struct segment {
  static constexpr auto record = format::record_type::segment;
  wire::le<u64> address;
  wire::le<u64> length;
  wire::le<segment_kind> kind;
  wire::flags<state::protection> protection;
  wire::le<u64> vm_flags;
  wire::le<u64> huge_bytes;
  wire::le<u64> file_offset;
  wire::le<u64> device;
  wire::le<u64> inode;
  wire::le<u64> object;
};

/// Which object the extents of a table belong to: 0 is the program's memory, n > 0 the contents
/// of the shared_object with that number.
struct extents {
  static constexpr auto record = format::record_type::extents;
  wire::le<u64> object;
  wire::le<u64> count;
};

struct extent {
  wire::le<u64> address;
  wire::le<u64> length;
  wire::le<u64> data;
};

/// Pages whose touch is a signal although the mapping's protection allows it.
enum class trap_kind : u32 {
  guard = 1,       // MADV_GUARD_INSTALL: SIGSEGV
  beyond_end = 2,  // of the mapped file: SIGBUS
};
constexpr bool legal(trap_kind k) {
  return k >= trap_kind::guard && k <= trap_kind::beyond_end;
}

struct trap_range {
  static constexpr auto record = format::record_type::trap_range;
  wire::le<u64> address;
  wire::le<u64> length;
  wire::le<trap_kind> kind;
  wire::reserved<4> reserved;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::segment, address, length, kind, protection, vm_flags,
                        huge_bytes, file_offset, device, inode, object);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::extents, object, count);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::extent, address, length, data);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::trap_range, address, length, kind, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::segment> = description<10>{
    "segment",
    "One mapping of the program, in ascending order of address. The tail is the name that "
    "/proc/PID/maps shows.",
    {"where it was and must be again, page aligned", "bytes, a multiple of the page size",
     "1 anonymous, 2 private file, 3 read-only shared file, 4 stack, 5 vdso, 6 vvar, 7 part of a "
     "shared object",
     "PROT_READ 1, PROT_WRITE 2, PROT_EXEC 4",
     "the VmFlags of /proc/PID/smaps, one bit each (include/ckpt/maps/vm_flags.hpp)",
     "AnonHugePages of /proc/PID/smaps, in bytes", "offset in the mapped file",
     "st_dev of the mapped file", "inode number of the mapped file",
     "number of the shared_object for kind 7, otherwise zero"}};
template <>
inline constexpr auto describe<state::extents> = description<2>{
    "extents",
    "The table of the runs of bytes an object has in the data. The tail is an array of extent, in "
    "ascending order of address, without overlap.",
    {"0 for the program's memory, otherwise the number of a shared_object",
     "number of elements in the tail"}};
template <>
inline constexpr auto describe<state::extent> = description<3>{
    "extent",
    "One run of bytes.",
    {"address in memory, or offset in the file, page aligned",
     "bytes, a multiple of the page size", "offset in the data, a multiple of the page size"}};
template <>
inline constexpr auto describe<state::trap_range> = description<4>{
    "trap_range",
    "Pages of one segment that cannot be touched, in ascending order of address.",
    {"page aligned", "bytes, a multiple of the page size",
     "1 guard pages of madvise(2): SIGSEGV; 2 beyond the end of the mapped file: SIGBUS", "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {
static_assert(wire::laid_out_in<trap_range, 24>());
static_assert(wire::laid_out_in<segment, 72>());
static_assert(wire::laid_out_in<extents, 16>());
static_assert(wire::laid_out_in<extent, 24>());

/// The i-th extent of a table's tail.
[[nodiscard]] inline extent extent_at(bytes tail, u64 i) {
  extent e{};
  std::memcpy(&e, tail.data() + i * sizeof e, sizeof e);
  return e;
}
}  // namespace ckpt::state
