// SPDX-License-Identifier: MIT
//
// Whether a file that the program had open is still the one that it was, as far as the policy asks.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/checksum.hpp"
#include "ckpt/state/files/policy.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

namespace files_detail {

inline bool same_bytes(const open_file& f, const char* path) {
  if (f.head_checksum == 0 && f.tail_checksum == 0) return false;
  const sys::unique_fd fd(
      sys::openat(sys::abi::at_fdcwd, path,
                  sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock)
          .value_or(-1));
  if (!fd) return false;
  sys::linux_files kernel;
  std::byte buffer[fingerprint_bytes];
  const u64 n = f.size < sizeof buffer ? f.size.get() : sizeof buffer;
  const mutable_bytes part(buffer, n);
  return sys::pread_up_to(kernel, fd.get(), part, 0).value_or(0) == n &&
         format::checksum(part) == f.head_checksum &&
         sys::pread_up_to(kernel, fd.get(), part, f.size - n).value_or(0) == n &&
         format::checksum(part) == f.tail_checksum;
}

}  // namespace files_detail

/// Looks, changes nothing.
// Context: agent, in restored memory
inline result<void> check_file(files_policy policy, const open_file& f, const char* path,
                               report& why) {
  if (policy == files_policy::keep) return {};
  constexpr std::string_view cure = " (put it back, or restart with --files=keep)";
  sys::abi::stat now{};
  if (auto r = sys::newfstatat(sys::abi::at_fdcwd, path, now, 0); !r.ok()) {
    if (r.error() == errc::no_entry) return why.refuse("file ", quoted{path}, " has vanished", cure);
    return why.explain(r.error(), "cannot look at file ", quoted{path});
  }
  if ((now.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg)
    return why.refuse("file ", quoted{path}, " was replaced by something else", cure);
  const u64 size = static_cast<u64>(now.st_size);
  const i64 modified = static_cast<i64>(now.st_mtime_sec * 1'000'000'000 + now.st_mtime_nsec);
  const bool same_inode = now.st_dev == f.device && now.st_ino == f.inode;
  if (size < f.size)
    return why.refuse("file ", quoted{path}, same_inode ? " has shrunk from " : " was replaced: ",
                      f.size.get(), same_inode ? " to " : " bytes then, ", size,
                      same_inode ? " bytes" : " now", cure);
  // On another machine the inode differs; the same time or the same bytes will do.
  if (same_inode || (size == f.size && modified == f.modified_ns) ||
      files_detail::same_bytes(f, path))
    return {};
  return why.refuse("file ", quoted{path}, " was replaced by another", cure);
}

}  // namespace ckpt::state
