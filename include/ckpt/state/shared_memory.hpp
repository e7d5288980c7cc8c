// SPDX-License-Identifier: MIT
//
// Memory and files that have more than one way in: shared anonymous memory, memfd_create(2), System
// V segments, files without a name, files that are mapped shared. Each is saved once, as an object
// with a number; segments and open files refer to it. How objects are found is the helper's
// business (frontends/agent/shared_objects.hpp), how they come back state/shared_restore.hpp's.
#pragma once

#include "ckpt/format/record.hpp"

namespace ckpt::state {

enum class object_kind : u32 {
  anonymous = 1,  // MAP_SHARED | MAP_ANONYMOUS, /dev/zero
  system_v = 2,   // shmget(2), its id already removed
  memfd = 3,      // memfd_create(2)
  deleted = 4,    // a regular file without a name
  named = 5,      // a regular file that its path leads to
};
constexpr bool legal(object_kind k) {
  return k >= object_kind::anonymous && k <= object_kind::named;
}

enum class object_flag : u32 {
  mapped_writable = 1,  // some mapping may be written, now or after mprotect(2)
  whole = 2,            // the image has all of it, not only the parts that are mapped
  no_reserve = 4,       // MAP_NORESERVE
};
constexpr u32 all_of(object_flag) {
  return 7;
}

struct shared_object {
  static constexpr auto record = format::record_type::shared_object;
  wire::le<u64> number;
  wire::le<object_kind> kind;
  wire::flags<object_flag> flags;
  wire::le<u64> size;
  wire::le<u64> device;
  wire::le<u64> inode;
  wire::le<i64> modified_ns;
  wire::le<u32> mode;
  wire::le<u32> seals;
};

inline constexpr u64 max_objects = 1024;
inline constexpr u64 largest_object = u64{1} << 62;

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::shared_object, number, kind, flags, size, device, inode,
                        modified_ns, mode, seals);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::shared_object> = description<9>{
    "shared_object",
    "Memory or a file with more than one way in. Segments and open files refer to it by its "
    "number, "
    "and the table of extents of that number holds its contents. The tail is its path or name.",
    {"counted from 1",
     "1 shared anonymous memory, 2 System V, 3 memfd, 4 file without a name, 5 file with a name",
     "1 some mapping may be written; 2 the contents are all of it, not only what is mapped; 4 "
     "MAP_NORESERVE",
     "bytes", "st_dev", "st_ino", "st_mtim in nanoseconds, of a file", "st_mode, 0 when unknown",
     "F_GET_SEALS of fcntl(2), of a memfd"}};
}  // namespace ckpt::wire

namespace ckpt::state {
static_assert(wire::laid_out_in<shared_object, 56>());
}  // namespace ckpt::state
