// SPDX-License-Identifier: MIT
//
// What a mapping becomes in the image, or why it cannot be saved: by its name, its flags and what it
// is a mapping of.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "ckpt/maps/vm_flags.hpp"
#include "ckpt/state/segment.hpp"
#include "ckpt/state/shared_memory.hpp"

namespace ckpt::state {

inline errc refuse_mapping(const maps::mapping_head& head, std::string_view name,
                           std::string_view what, report& why) {
  return why.refuse("memory at ", address_range{head.where.begin, head.where.end}, " is ", what, " (",
                    quoted{name}, "), which cannot be saved");
}

/// segment_kind{} for what no image has. A mapping that is shared says so and no more: what becomes of
/// it depends on the object behind it.
// Context: helper, all threads frozen
inline result<segment_kind> kind_of_mapping(const maps::mapping_head& head, std::string_view name,
                                            maps::vm_flags flags, report& why) {
  using maps::vm_flag;
  const auto refuse = [&](std::string_view what) { return refuse_mapping(head, name, what, why); };
  switch (maps::special_of(name)) {
    case maps::special::vsyscall:
    case maps::special::uprobes: return segment_kind{};
    case maps::special::vvar: return segment_kind::vvar;
    case maps::special::vdso: return segment_kind::vdso;
    default: break;
  }
  // A program that may map page 0 is root's; here it would be a null pointer.
  if (head.where.begin < page_size) return refuse("at address 0");
  if (flags.has(vm_flag::huge_tlb)) return refuse("made of hugetlb pages");
  if (flags.has(vm_flag::shadow_stack)) return refuse("a shadow stack");
  switch (maps::backing_of(name)) {
    case maps::backing::secret: return refuse("secret memory");
    case maps::backing::aio_ring: return refuse("an asynchronous I/O ring");
    case maps::backing::anon_inode: return refuse("a mapping of a kernel object");
    case maps::backing::huge_pages: return refuse("made of hugetlb pages");
    default: break;
  }
  if (flags.has(vm_flag::io) || flags.has(vm_flag::pure_pfn)) return refuse("a mapping of a device");
  if (head.shared) return segment_kind::shared;
  if (flags.has(vm_flag::grows_down)) return segment_kind::stack;
  // A private mapping of /dev/zero is anonymous memory by another way.
  if (name == "/dev/zero") return segment_kind::anonymous;
  return head.inode != 0 || maps::backing_of(name) != maps::backing::memory
             ? segment_kind::private_file
             : segment_kind::anonymous;
}

// --- what is mapped shared -------------------------------------------------------------------

/// Device numbers of maps and stat(2) differ on file systems that have none of their own (btrfs).
[[nodiscard]] inline bool is_mapped_file(const sys::abi::stat& st, u64 device, u64 inode) {
  const bool anonymous_device = (st.st_dev >> 8 & 0xfff) == 0;
  return st.st_ino == inode && (st.st_dev == device || anonymous_device) &&
         (st.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifreg;
}

/// The object behind a shared mapping whose path, if it has one, does not lead to it; object_kind{}
/// for a file that is only read and as good as a copy.
// Context: helper, all threads frozen
inline result<object_kind> kind_of_object(const maps::mapping_head& head, std::string_view shown,
                                          std::string_view path, bool may_write, report& why) {
  const auto refuse = [&](std::string_view what) { return refuse_mapping(head, shown, what, why); };
  switch (maps::backing_of(path)) {
    case maps::backing::shared_anonymous: return object_kind::anonymous;
    case maps::backing::system_v: return object_kind::system_v;
    case maps::backing::memfd: return object_kind::memfd;
    default: break;
  }
  if (!may_write) return object_kind{};
  if (!path.starts_with('/') || !maps::is_deleted(path))
    return refuse("a writable shared mapping of a file that its path does not "
                  "lead to, or of a device");
  return object_kind::deleted;
}
inline errc refuse_other_name(const maps::mapping_head& head, std::string_view shown, report& why) {
  const auto refuse = [&](std::string_view what) { return refuse_mapping(head, shown, what, why); };
  return refuse("a writable shared mapping of a file that has another name");
}

struct system_v_segment {
  u64 size;
  u32 mode;
  u64 attached;  // by whomever
  bool removed;  // the id
};
/// The inode number is the segment's id.
inline result<system_v_segment> look_at_system_v(u64 id) {
  struct ipc_status {
    i32 key;
    u32 uid, gid, cuid, cgid, mode;
    u16 sequence, pad;
    u32 pad2;
    u64 unused[2];
    u64 size;
    i64 attached_at, detached_at, changed_at;
    i32 creator, last;
    u64 attached;
    u64 unused2[2];
  } status{};
  constexpr int ipc_stat = 2;
  constexpr u32 removed = 01000;
  CKPT_TRY(sys::checked<int>(sys::invoke(__NR_shmctl, id, ipc_stat, &status)));
  return system_v_segment{status.size, status.mode & 0777u, status.attached,
                          (status.mode & removed) != 0};
}
/// While the id is there, others may know it, and after a restart it would be another.
inline errc refuse_system_v(const maps::mapping_head& head, std::string_view shown, report& why) {
  const auto refuse = [&](std::string_view what) { return refuse_mapping(head, shown, what, why); };
  return refuse("a System V segment whose id is not removed (shmctl with IPC_RMID)");
}

inline errc refuse_mapped_elsewhere(std::string_view path, report& why) {
  return why.refuse("shared memory ", quoted{path},
                    " is mapped by another process too (the one that started this one?), "
                    "which would not share it after a restart");
}
inline errc refuse_attached_elsewhere(std::string_view path, report& why) {
  return why.refuse("the System V segment ", quoted{path},
                    " is attached by another process too, which would not share it after a "
                    "restart");
}

}  // namespace ckpt::state
