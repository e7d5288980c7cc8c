// SPDX-License-Identifier: MIT
//
// What the two tasks of a checkpoint tell each other: the thread that took the trigger, and the
// helper, a process of its own that shares the program's memory. They take turns; `phase` says
// whose turn it is.
#pragma once

#include "arena.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/state/thread_settings.hpp"
#include "rseq_probe.hpp"

namespace ckpt::agent {

enum class phase : u32 {
  starting,       // the helper is being made
  freezing,       // helper: stop every thread but the triggering one
  self_capture,   // triggering thread: what only a thread can say of itself
  writing,        // helper: everything else, and the image
  done,
};

/// A word that one task sets and another waits for. The wait has a bound, after which the waiter
/// looks whether the other is still alive.
class turn {
 public:
  [[nodiscard]] phase get() const {
    return static_cast<phase>(__atomic_load_n(&word_, __ATOMIC_ACQUIRE));
  }
  void set(phase p) {
    __atomic_store_n(&word_, static_cast<u32>(p), __ATOMIC_RELEASE);
    (void)sys::futex_wake(&word_, 0x7fffffff);
  }
  /// False when alive() said no before the phase came.
  template <class Alive>
  bool wait_for(phase wanted, Alive&& alive) const {
    for (;;) {
      const u32 now = __atomic_load_n(&word_, __ATOMIC_ACQUIRE);
      if (now >= static_cast<u32>(wanted)) return true;
      if (!alive()) return __atomic_load_n(&word_, __ATOMIC_ACQUIRE) >= static_cast<u32>(wanted);
      const sys::abi::timespec bound{0, 5'000'000};
      (void)sys::futex_wait(&word_, now, &bound);
    }
  }

 private:
  u32 word_ = 0;
};

struct session {
  agent::turn turn;
  int helper = 0;   // its pid; the kernel clears it when the helper is gone (CLONE_CHILD_CLEARTID)
  int second = 0;   // the helper's other thread, which is slower to die when it is with the disk; cleared likewise
  errc start_error = errc::none;  // why there is no helper
  int program = 0;  // pid of the program, as it sees itself
  int thread = 0;   // tid of the triggering thread
  bool filtered = true;  // a filter (seccomp) may kill for an unusual call; until it is known
  bool try_filtered = false;  // the user takes the risk
  bool made_again = false;    // the call that the trigger interrupted
  bool traced = false;  // by somebody else, so ptrace is not ours to use
  bool probes_rseq = false;  // ptrace cannot tell
  rseq_registration rseq;
  int stuck = 0;  // a thread that did not stop in time; another try may be worth it
  bool goes_on = false;  // after the checkpoint
  bool may_lag = false;  // nobody waits to hear that an image has reached its server
  bool held_off = false;  // a thread has begun to hold checkpoints off (ckpt_hold)
  fixed_text<16> outer_pid;
  int outer_pid_number = 0;
  int outer_thread = 0;
  fixed_text<32> proc;  // "/proc/PID", by the number that /proc uses
  fixed_text<64> self;  // "/proc/PID/task/TID" of the triggering thread; the main one may be gone
  u64 clear_child_tid = 0;
  i32 dumpable = state::absent;  // as the program has them; a checkpoint changes both for a while
  i32 coredump_filter = state::absent;
  i32 child_subreaper = 0;
  bool deadline_lent = false;  // SCHED_FLAG_RESET_ON_FORK is ours
  state::processor_set processors_allowed;
  u64 default_slice = 0;
  sys::abi::kernel_sigaction trap_action{};  // of SIGTRAP, before anybody is stepped
  u64 fs_base = 0;
  u64 gs_base = 0;
  u32 personality = 0;
  u32 umask = 0;
  sys::abi::ucontext* context = nullptr;
  agent::arena arena;
  format::metadata_builder metadata{{nullptr, nullptr}};
  report why;
  u64 pending = 0;  // the signals that the helper has seen waiting
  bool good = false;
  fixed_text<4200> final_name;
  u64 name_mark = 0;  // of what the checkpoint was asked to be called
  u64 base_size = 0;  // of it, without what has been added because the name belongs to another
  u64 number = 0;     // the checkpoint's
  wire::blob<16> image_before{};
  bool name_given = false;  // for this checkpoint only
  bool displaced = false;   // the name belongs to another, found just now
  fixed_text<4200> temporary_name;
  bool temporary_exists = false;
  u64 image_size = 0;
  u64 started_ns = 0;
  u64 frozen_ns = 0;  // how long the program has stood still, by then

  [[nodiscard]] bool helper_alive() const {
    return __atomic_load_n(&helper, __ATOMIC_ACQUIRE) != 0 || __atomic_load_n(&second, __ATOMIC_ACQUIRE) != 0;
  }
};

}  // namespace ckpt::agent
