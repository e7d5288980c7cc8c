// SPDX-License-Identifier: MIT
//
// Why the latest call or checkpoint failed, for ckpt_error. Any thread and any handler may write
// and read it, so all signals are blocked for the few instructions that its lock is held; the lock
// lies in the page that a forked child finds empty.
#pragma once

#include "agent_lock.hpp"
#include "ckpt/base/text.hpp"

namespace ckpt::agent {

class last_error {
 public:
  // Context: any, no libc
  void set(std::string_view line) {
    const signals_blocked quiet;
    take();
    text_.clear();
    text_.append(line);
    give_back();
  }
  void clear() { set({}); }

  /// As snprintf(3): the length of the whole.
  // Context: any, no libc
  u64 copy(char* to, u64 size) const {
    const signals_blocked quiet;
    take();
    const auto line = text_.view();
    if (size > 0) {
      const u64 n = line.size() < size ? line.size() : size - 1;
      __builtin_memcpy(to, line.data(), n);
      to[n] = '\0';
    }
    give_back();
    return line.size();
  }

 private:
  static void take() {
    while (__atomic_exchange_n(&agent_error_busy, 1u, __ATOMIC_ACQUIRE) != 0)
      (void)sys::nanosleep({0, 20'000});
  }
  static void give_back() { __atomic_store_n(&agent_error_busy, 0u, __ATOMIC_RELEASE); }

  fixed_text<1400> text_;
};

}  // namespace ckpt::agent
