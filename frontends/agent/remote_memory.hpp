// SPDX-License-Identifier: MIT
//
// The program's memory where it may not be touched in place.
#pragma once

#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

/// Reads pages of this address space that may not be touched in place: protected, beyond the end
/// of their file.
class remote_memory {
 public:
  result<void> open() {
    fd_ = sys::unique_fd(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, "/proc/self/mem",
                                              sys::abi::o_rdonly | sys::abi::o_cloexec)));
    return {};
  }
  /// How much could be read; 0 where the first page cannot be.
  u64 read(u64 address, mutable_bytes to) {
    sys::linux_files kernel;
    u64 done = 0;
    while (done < to.size()) {
      const auto got = kernel.pread(fd_.get(), to.data() + done, to.size() - done, address + done);
      if (!got.ok() && got.error() == errc::interrupted) continue;
      if (!got.ok() || *got == 0) break;
      done += *got;
    }
    return done;
  }

 private:
  sys::unique_fd fd_;
};

}  // namespace ckpt::agent
