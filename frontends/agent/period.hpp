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
  // Context: library load, and after a restart; with the agent's lock
  void start(int signal, u32 milliseconds) { start(signal, milliseconds, true); }
  /// While it is held: another signal for what is left of the time, or another time, which begins
  /// anew. 0 for none.
  // Context: ordinary, with the agent's lock
  void change(int signal, u32 milliseconds, bool anew) {
    const auto left = left_;
    const bool was_ours = is_ours();
    if (was_ours) (void)sys::timer_delete(timer_);
    timer_ = -1;
    milliseconds_ = milliseconds;
    if (milliseconds == 0 || (!anew && !was_ours)) return;
    start(signal, milliseconds, false);
    left_ = anew ? sys::abi::itimerspec{} : left;
    go_on();
  }

  /// A checkpoint takes none of the period. A tick of that time would wait under the number of the
  /// trigger, and a trigger that somebody sends meanwhile would be merged into it.
  // Context: signal handler
  void hold() {
    const sys::abi::itimerspec stopped{};
    held_since_ = now();
    left_ = {};
    if (is_ours()) (void)sys::invoke(__NR_timer_settime, timer_, 0, &stopped, &left_);
  }
  /// The program has at least as long for itself as the checkpoint has taken, so that one with a
  /// short period comes along.
  // Context: signal handler
  void go_on() {
    const i64 left = nanoseconds(left_.it_value);
    const i64 fair = now() - held_since_;
    const i64 first = left == 0 ? nanoseconds(whole()) : left;
    go_on(span(first > fair ? first : fair));
  }
  /// `process` is the number that the program had.
  // Context: agent, in restored memory: timers do not survive in the kernel
  void start_again(int process) {
    if (milliseconds_ != 0 && owner_ == process) start(signal_, milliseconds_);
  }

  [[nodiscard]] bool raised(const sys::abi::siginfo& info) const {
    u64 value = 0;
    __builtin_memcpy(&value, info.fields + 8, sizeof value);  // si_value, behind timer id, overrun
    return info.si_code == sys::abi::si_timer && value == cookie;
  }
  /// Whether a tick must have come since the time began.
  // Context: signal handler
  [[nodiscard]] bool is_due() const { return on() && is_ours() && now() >= due_ns_; }
  /// As the kernel marks a tick.
  static void mark(sys::abi::siginfo& info) {
    info.si_code = sys::abi::si_timer;
    const u64 value = cookie;
    __builtin_memcpy(info.fields + 8, &value, sizeof value);
  }
  [[nodiscard]] int timer() const { return is_ours() ? timer_ : -1; }
  [[nodiscard]] bool on() const { return milliseconds_ != 0; }

 private:
  static constexpr i64 second = 1'000'000'000;
  static i64 nanoseconds(const sys::abi::timespec& t) { return t.tv_sec * second + t.tv_nsec; }
  static sys::abi::timespec span(i64 ns) { return {ns / second, ns % second}; }
  static i64 now() {
    sys::abi::timespec t{};
    (void)sys::clock_gettime(sys::abi::clock_monotonic, t);
    return nanoseconds(t);
  }
  /// A forked child has no timers, and another one may have the number.
  [[nodiscard]] bool is_ours() const { return timer_ >= 0 && owner_ == sys::getpid(); }
  void start(int signal, u32 milliseconds, bool at_once) {
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
    owner_ = sys::getpid();
    if (!sys::checked<void>(
             sys::invoke(__NR_timer_create, sys::abi::clock_monotonic, &event, &timer_))
             .ok()) {
      timer_ = -1;
      return;
    }
    if (at_once) go_on(whole());
  }
  [[nodiscard]] sys::abi::timespec whole() const {
    return {milliseconds_ / 1000, i64{milliseconds_ % 1000} * 1'000'000};
  }
  void go_on(sys::abi::timespec first) {
    if (!is_ours()) return;
    due_ns_ = now() + nanoseconds(first);
    (void)sys::timer_settime(timer_, 0, {whole(), first});
  }

  static constexpr u64 cookie = 0x636b70742d746d72;
  int timer_ = -1;
  int owner_ = 0;
  int signal_ = 0;
  u32 milliseconds_ = 0;
  sys::abi::itimerspec left_{};  // while it is held
  i64 held_since_ = 0;
  i64 due_ns_ = 0;  // CLOCK_MONOTONIC, of the next tick
};

}  // namespace ckpt::agent
