// SPDX-License-Identifier: MIT
//
// What the program has asked to be called at a checkpoint and at a restart, and the calling. The
// functions run in the thread that asked for the checkpoint, with its own thread-local storage, on
// its stack and with all signals blocked. After a restart they run where the first ones ran: what a
// handler's stack had room for then, it has room for again.
#pragma once

#include "agent_lock.hpp"

namespace ckpt::agent {

enum class callback_phase : u32 { none, before, after, restart };

struct callback {
  void (*function)(void*);
  void* argument;
};

class callback_list {
 public:
  static constexpr u32 capacity = 64;

  // Context: any, no libc; with the agent's lock
  bool add(callback c) {
    if (count_ == capacity) return false;
    all_[count_++] = c;
    return true;
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] u32 count() const { return count_; }
  void call(u32 i) const { all_[i].function(all_[i].argument); }

 private:
  callback all_[capacity] = {};
  u32 count_ = 0;
};

class callbacks {
 public:
  callback_list before, after, restart;

  /// Whether the calling thread is in a function of the program's that ckpt has called.
  // Context: any, no libc
  [[nodiscard]] bool running_here() const {
    const int runner = __atomic_load_n(&runner_, __ATOMIC_ACQUIRE);
    return runner != 0 && runner == sys::gettid();
  }
  /// For ckpt_fds: what a descriptor's change would be a change of.
  [[nodiscard]] callback_phase phase() const { return phase_; }

  /// Where the restart's will run: noted before the image is written, so that the image knows it.
  // Context: triggering thread
  void note_place(int thread, u64 stack) {
    thread_ = thread;
    stack_ = stack & ~u64{15};
  }
  [[nodiscard]] int thread() const { return thread_; }

  // Context: triggering thread, on the program's stack, all signals blocked
  void run_before() {
    begin(callback_phase::before);
    for (u32 i = 0; i < before.count(); ++i) before.call(i);
    end();
  }
  // Context: triggering thread, on the program's stack, all signals blocked
  void run_after() {
    begin(callback_phase::after);
    for (u32 i = 0; i < after.count(); ++i) after.call(i);
    end();
  }
  // Context: agent, in restored memory, in the triggering thread, all others held
  void run_restart() { agent_call_on_stack(stack_, &run_restart_here, this); }

 private:
  static void run_restart_here(void* self) {
    auto& c = *static_cast<callbacks*>(self);
    c.begin(callback_phase::restart);
    for (u32 i = c.restart.count(); i > 0; --i) c.restart.call(i - 1);
    c.end();
  }
  void begin(callback_phase phase) {
    phase_ = phase;
    __atomic_store_n(&runner_, sys::gettid(), __ATOMIC_RELEASE);
  }
  void end() {
    __atomic_store_n(&runner_, 0, __ATOMIC_RELEASE);
    phase_ = callback_phase::none;
    // One that unblocked a signal may not leave it so: what follows is the agent's.
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
  }

  callback_phase phase_ = callback_phase::none;
  int runner_ = 0;
  int thread_ = 0;
  u64 stack_ = 0;
};

}  // namespace ckpt::agent
