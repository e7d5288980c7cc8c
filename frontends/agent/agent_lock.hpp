// SPDX-License-Identifier: MIT
//
// One checkpoint at a time, and no change of the configuration meanwhile: agent_busy, a mutex by
// futex(2) of 0 (free), 1 (taken) and 2 (somebody waits). It lies in a page that a forked child
// finds empty, so that nobody waits there for a thread that only the parent has.
#pragma once

#include "ckpt/sys/calls.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

/// All signals of the calling thread are blocked while it lives: a trigger that came between would
/// wait for what its own thread has taken.
class signals_blocked {
 public:
  // Context: any, no libc
  signals_blocked() {
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, &before_);
  }
  ~signals_blocked() { (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &before_, nullptr); }
  signals_blocked(const signals_blocked&) = delete;
  signals_blocked& operator=(const signals_blocked&) = delete;

  [[nodiscard]] u64 before() const { return before_; }

 private:
  u64 before_ = 0;
};

/// The same protocol as trigger_entry's in agent.S.
class agent_lock {
 public:
  // Context: any, no libc; all signals blocked, and not in a callback
  static void take() {
    u32 free = 0;
    if (__atomic_compare_exchange_n(&agent_busy, &free, 1u, false, __ATOMIC_SEQ_CST,
                                    __ATOMIC_SEQ_CST))
      return;
    while (__atomic_exchange_n(&agent_busy, 2u, __ATOMIC_SEQ_CST) != 0)
      (void)sys::futex_wait(&agent_busy, 2, nullptr);
  }
  // Context: any, no libc
  static void give_back() {
    if (__atomic_exchange_n(&agent_busy, 0u, __ATOMIC_SEQ_CST) == 2)
      (void)sys::futex_wake(&agent_busy, 1);
  }
};

/// Where the words lie that a child must not inherit.
// Context: library load
inline void forget_on_fork() {
  (void)sys::madvise(reinterpret_cast<u64>(agent_own_page), page_size, sys::abi::madv_wipeonfork);
}

}  // namespace ckpt::agent
