// SPDX-License-Identifier: MIT
//
// What the last column of a /proc/PID/maps line means. It is a path as the kernel sees it, a name
// in brackets for memory without a file, or one of the kernel's internal file systems. A file may
// be called like any of these, so a caller to whom the difference matters compares device and
// inode as well.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::maps {

/// Memory that the kernel names itself. Matched by prefix: there were two [vvar] mappings at last
/// count, and there will be more.
enum class special : u8 {
  none,  // a file, or memory without a name
  heap,
  stack,
  vdso,
  vvar,
  vsyscall,
  uprobes,
  anon_named,    // [anon:NAME], [anon_shmem:NAME]; PR_SET_VMA_ANON_NAME
  other_kernel,  // brackets that this version knows nothing about
};

[[nodiscard]] constexpr special special_of(std::string_view name) {
  if (!name.starts_with('[')) return special::none;
  if (name == "[heap]") return special::heap;
  if (name == "[stack]") return special::stack;
  if (name.starts_with("[vdso")) return special::vdso;
  if (name.starts_with("[vvar")) return special::vvar;
  if (name.starts_with("[vsyscall")) return special::vsyscall;
  if (name.starts_with("[uprobes")) return special::uprobes;
  if (name.starts_with("[anon:") || name.starts_with("[anon_shmem:")) return special::anon_named;
  return special::other_kernel;
}

/// What stands behind a mapping, as far as its name tells.
enum class backing : u8 {
  memory,            // no file: private anonymous memory, heap, stack, or the kernel's own
  file,              // a path
  shared_anonymous,  // MAP_SHARED | MAP_ANONYMOUS
  system_v,          // shmget(2)
  memfd,             // memfd_create(2)
  huge_pages,        // MAP_HUGETLB | MAP_ANONYMOUS
  secret,            // memfd_secret(2): nobody else can read it
  aio_ring,          // io_setup(2)
  anon_inode,        // io_uring, perf, kvm and their kind
};

[[nodiscard]] constexpr backing backing_of(std::string_view name) {
  if (name.starts_with("[anon_shmem:")) return backing::shared_anonymous;
  if (name.empty() || name.starts_with('[')) return backing::memory;
  if (name.starts_with("anon_inode:")) return backing::anon_inode;
  if (name.starts_with("/memfd:")) return backing::memfd;
  if (name == "/dev/zero (deleted)") return backing::shared_anonymous;
  if (name.starts_with("/SYSV") && name.ends_with(" (deleted)")) return backing::system_v;
  if (name == "/anon_hugepage (deleted)") return backing::huge_pages;
  if (name == "/secretmem (deleted)" || name == "/secretmem") return backing::secret;
  if (name == "/[aio] (deleted)" || name == "/[aio]") return backing::aio_ring;
  return backing::file;
}

inline constexpr std::string_view deleted_mark = " (deleted)";

/// The kernel appends the mark to the path of an unlinked file. It does not tell a file that is
/// really called so from one that is gone.
[[nodiscard]] constexpr bool is_deleted(std::string_view name) {
  return name.ends_with(deleted_mark);
}
[[nodiscard]] constexpr std::string_view without_deleted(std::string_view name) {
  if (is_deleted(name)) name.remove_suffix(deleted_mark.size());
  return name;
}

/// Turns \012 back into the newline it stands for, in place, and returns what is left. It is the
/// only escape in these files: a backslash in a name comes as itself, so decoding any other octal
/// number would damage the path of a file that is called "\101".
/// Context: any, no libc.
[[nodiscard]] constexpr std::string_view unescape(std::span<char> name) {
  constexpr std::string_view newline = "\\012";
  std::size_t to = 0;
  for (std::size_t from = 0; from < name.size();) {
    if (std::string_view(name.data() + from, name.size() - from).starts_with(newline)) {
      name[to++] = '\n';
      from += newline.size();
    } else {
      name[to++] = name[from++];
    }
  }
  return {name.data(), to};
}

}  // namespace ckpt::maps
