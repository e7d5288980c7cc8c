// SPDX-License-Identifier: MIT
//
// fsync(2) takes as long as the disk does. A program that is killed meanwhile is dead to its parent only
// when its frozen threads have been waited for, and nobody can do that but the task that holds them, the
// first of the helper: so another one waits for the disk.
#pragma once

#include "second_thread.hpp"

namespace ckpt::agent {

/// Lives as long as the helper: its thread may be with the disk still when the helper ends.
class disk_sync {
 public:
  using call = result<void> (*)(int);
  /// `thread` is 0 when the thread has ended, however it has.
  explicit disk_sync(int& thread) : thread_(thread) {}

  /// What `sync` answers; what watch() does, as soon as that is an error. The hasher has ended.
  // Context: helper
  template <class Watch>
  [[gnu::cold, gnu::noinline]] result<void> wait(call sync, int fd, Watch&& watch) {
    sync_ = sync;
    fd_ = fd;
    if (!start_second_thread(thread_, &run, this)) return sync(fd);
    for (int left; (left = __atomic_load_n(&thread_, __ATOMIC_ACQUIRE)) != 0;) {
      const sys::abi::timespec bound{0, 2'000'000};
      (void)sys::futex_wait(reinterpret_cast<u32*>(&thread_), static_cast<u32>(left), &bound);
      CKPT_TRY(watch());
    }
    return outcome_;
  }

 private:
  // Context: a thread of the helper
  static void run(void* self) {
    auto& me = *static_cast<disk_sync*>(self);
    me.outcome_ = me.sync_(me.fd_);
    sys::exit(0);
  }

  call sync_ = nullptr;
  int fd_ = -1;
  int& thread_;
  result<void> outcome_;
};

}  // namespace ckpt::agent
