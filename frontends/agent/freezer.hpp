// SPDX-License-Identifier: MIT
//
// Stops the world by ptrace, from a process that is no thread of it: no signal is used, so threads
// that block all signals stop as well, and a system call that is interrupted can be made again.
// Source: ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

/// One thread, held by ptrace until release().
class held_thread {
 public:
  // Context: helper
  static result<held_thread> seize(int tid) {
    const auto seized = sys::ptrace(sys::abi::ptrace_seize, tid, 0, 0);
    if (!seized.ok()) return seized.error();
    held_thread t;
    t.tid_ = tid;
    // No tracer can let a running thread go: what cannot be stopped is let go by our end.
    if (!sys::ptrace(sys::abi::ptrace_interrupt, tid, 0, 0).ok()) sys::exit_group(1);
    return t;
  }

  /// Waits until it has stopped, for at most 50 ms: a thread inside vfork would hold everything.
  // Context: helper
  result<void> wait_stopped() const {
    for (int tries = 0; tries < 1000; ++tries) {
      int status = 0;
      const auto got = sys::wait4(tid_, &status, sys::abi::w_all | sys::abi::w_nohang);
      if (!got.ok() && got.error() != errc::interrupted) return got.error();
      if (got.ok() && *got == tid_) {
        if ((status & 0xff) == 0x7f) return {};
        return errc::gone;
      }
      (void)sys::nanosleep({0, 50'000});
    }
    return errc::busy;
  }

  /// A thread that is not let go would stand still until we end: so we do.
  // Context: helper
  void release() {
    if (tid_ != 0 && !sys::ptrace(sys::abi::ptrace_detach, tid_, 0, 0).ok()) sys::exit_group(1);
    tid_ = 0;
  }

  [[nodiscard]] int tid() const { return tid_; }

 private:
  int tid_ = 0;
};

/// Counts the threads of the program; each is named to visit(tid).
// Context: helper
template <class Visitor>
result<u32> for_each_thread(std::string_view proc, Visitor&& visit) {
  fixed_text<64> path;
  path.append(proc).append("/task");
  const sys::unique_fd dir(CKPT_TRY(
      sys::openat(sys::abi::at_fdcwd, path.c_str(),
                  sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec)));
  char buffer[4096];
  u32 count = 0;
  for (;;) {
    const u64 got = CKPT_TRY(sys::getdents64(dir.get(), buffer, sizeof buffer));
    if (got == 0) return count;
    for (u64 at = 0; at < got;) {
      sys::abi::dirent64 d{};
      std::memcpy(&d, buffer + at, sys::abi::dirent64_name_offset);
      const auto tid = parse_number(buffer + at + sys::abi::dirent64_name_offset);
      at += d.d_reclen;
      if (!tid.ok()) continue;
      ++count;
      visit(static_cast<int>(*tid));
    }
  }
}

}  // namespace ckpt::agent
