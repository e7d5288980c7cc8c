// SPDX-License-Identifier: MIT
//
// A small file of /proc, read whole into the caller's buffer.
#pragma once

#include "ckpt/sys/file.hpp"

namespace ckpt::proc {

/// What does not fit is left out.
/// Context: any, no libc.
inline result<std::string_view> read_text(const char* path, std::span<char> buffer) {
  const sys::unique_fd fd(CKPT_TRY(
      sys::openat(sys::abi::at_fdcwd, path, sys::abi::o_rdonly | sys::abi::o_cloexec)));
  sys::linux_files kernel;
  const u64 size = CKPT_TRY(sys::read_up_to(kernel, fd.get(), std::as_writable_bytes(buffer)));
  return std::string_view(buffer.data(), size);
}

}  // namespace ckpt::proc
