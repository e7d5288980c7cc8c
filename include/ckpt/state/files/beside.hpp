// SPDX-License-Identifier: MIT
//
// Where what a restart takes out of a file is kept: FILE.after-ckpt beside it, or the first name with
// a number that is free.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

/// A new, empty file with the permissions in `mode`; `name` is the last that was tried.
// Context: agent, in restored memory
inline result<int> create_beside(std::string_view path, u32 mode, auto& name) {
  for (u32 n = 0;; ++n) {
    name.clear();
    name.append(path).append(".after-ckpt");
    if (n > 0) name.append('.').append(n);
    const auto made = sys::openat(sys::abi::at_fdcwd, name.c_str(),
                                  sys::abi::o_wronly | sys::abi::o_creat | sys::abi::o_excl |
                                      sys::abi::o_nofollow | sys::abi::o_cloexec,
                                  mode & 0777u);
    if (made.ok() || made.error() != errc::exists || n == 100000) return made;
  }
}

}  // namespace ckpt::state
