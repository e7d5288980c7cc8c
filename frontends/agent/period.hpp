// SPDX-License-Identifier: MIT
//
// Checkpoints by the clock. A POSIX timer of the agent's own, so that the program's alarm and
// setitimer stay the program's; its expiry is told from a trigger that somebody sent by a cookie.
// Source: timer_create(2), sigevent(7).
#pragma once

#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

class period {
 public:
  // Context: library load, and after a restart
  void start(int signal, u32 milliseconds) {
    struct {
      u64 value = cookie;
      i32 signal = 0;
      i32 notify = 0;  // SIGEV_SIGNAL
      u64 rest[6] = {};
    } event;
    static_assert(sizeof event == 64);
    event.signal = signal;
    signal_ = signal;
    milliseconds_ = milliseconds;
    if (!sys::checked<void>(
             sys::invoke(__NR_timer_create, sys::abi::clock_monotonic, &event, &timer_))
             .ok()) {
      timer_ = -1;
      return;
    }
    struct {
      sys::abi::timespec interval, value;
    } setting;
    setting.interval = {milliseconds / 1000, i64{milliseconds % 1000} * 1'000'000};
    setting.value = setting.interval;
    (void)sys::invoke(__NR_timer_settime, timer_, 0, &setting, 0);
  }
  // Context: agent, in restored memory: timers do not survive in the kernel
  void start_again() {
    if (milliseconds_ != 0) start(signal_, milliseconds_);
  }

  [[nodiscard]] bool raised(const sys::abi::siginfo& info) const {
    u64 value = 0;
    __builtin_memcpy(&value, info.fields + 8, sizeof value);  // si_value, behind timer id, overrun
    return milliseconds_ != 0 && info.si_code == -2 /* SI_TIMER */ && value == cookie;
  }
  [[nodiscard]] int timer() const { return timer_; }

 private:
  static constexpr u64 cookie = 0x636b70742d746d72;
  int timer_ = -1;
  int signal_ = 0;
  u32 milliseconds_ = 0;
};

}  // namespace ckpt::agent
