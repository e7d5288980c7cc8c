// SPDX-License-Identifier: MIT
//
// An interrupted call with a relative time limit, made again with what is left of it. Made again as
// it stood, it would wait its whole time after each trigger, and with a period (-z) shorter than
// the limit it would never come back.
//
// The arguments lie in registers that the program may use again after the call, so they cannot be
// changed where they are. The call is made from the agent's own code instead (agent_timed_call in
// agent.S), from a frame below the program's stack that has the saved registers, the limit and the
// time; afterwards the registers are as the call would have left them. A trigger that interrupts
// this call finds the frame, and in it what is left. How much of the limit had gone when the first
// trigger came nobody knows but where the kernel has said it: the first time is late, never early.
#pragma once

#include <cstddef>

#include "ckpt/sys/calls.hpp"
#include "interrupted_call.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

/// What agent_timed_call finds at the stack pointer. The order is known there.
struct timed_frame {
  u64 rdi, rsi, rdx, r10, r8, r9;  // as the program has them
  u64 rip;                         // behind the program's system call
  u64 rsp;
  u64 number;
  i64 left_ns;
  i64 since_ns;  // CLOCK_MONOTONIC, when the call was made
  sys::abi::timespec limit;
};
static_assert(offsetof(timed_frame, rip) == 48 && offsetof(timed_frame, rsp) == 56);
/// What functions of the program's that run on its stack leave free for it, below a signal's frame or
/// the red zone: agent.S and outside.S have the number, too.
inline constexpr u64 kept_for_timed_frame = 256;
static_assert(64 + sizeof(timed_frame) + 16 <= kept_for_timed_frame);

/// Which register holds a relative limit, and how.
struct limit_place {
  enum class kind : u8 { none, milliseconds, timespec };
  kind is = kind::none;
  u64 sys::abi::sigcontext::*reg = nullptr;
  u64 rest = 0;  // where the kernel has written what was left, 0 for nowhere
};

[[nodiscard]] inline limit_place limit_of(u64 number, const sys::abi::sigcontext& r) {
  using at = sys::abi::sigcontext;
  using enum limit_place::kind;
  constexpr u64 futex_command = 0x7f, futex_wait = 0;
  switch (number) {
    case __NR_poll:
      return {milliseconds, &at::rdx};
    case __NR_epoll_wait:
    case __NR_epoll_pwait:
      return {milliseconds, &at::r10};
    case __NR_epoll_pwait2:
      return {timespec, &at::r10};
    case __NR_nanosleep:
      return {timespec, &at::rdi, r.rsi};
    case __NR_clock_nanosleep:
      if ((r.rsi & static_cast<u64>(sys::abi::timer_abstime)) != 0) return {};
      return {timespec, &at::rdx, r.r10};
    case __NR_futex:
      if ((r.rsi & futex_command) != futex_wait) return {};
      return {timespec, &at::r10};
    case __NR_rt_sigtimedwait:
      return {timespec, &at::rdx};
    case __NR_semtimedop:
      return {timespec, &at::r10};
    case __NR_io_getevents:
    case __NR_io_pgetevents:
      return {timespec, &at::r8};
    default:
      return {};
  }
}

inline i64 monotonic_now() {
  sys::abi::timespec now{};
  (void)sys::clock_gettime(sys::abi::clock_monotonic, now);
  return now.tv_sec * 1'000'000'000 + now.tv_nsec;
}

namespace timed_detail {

/// The frame's limit goes where the call wants it: into the register, or beside the frame.
inline void set_limit(timed_frame& f, u64 frame_address, sys::abi::sigcontext& regs) {
  const auto place = limit_of(f.number, regs);
  if (place.is == limit_place::kind::milliseconds) {
    regs.*place.reg = static_cast<u64>((f.left_ns + 999'999) / 1'000'000);
  } else {
    f.limit = {f.left_ns / 1'000'000'000, f.left_ns % 1'000'000'000};
    regs.*place.reg = frame_address + offsetof(timed_frame, limit);
  }
}

/// Memory of the program, without a fault where it is not there.
inline bool put(u64 address, const timed_frame& f) {
  const sys::abi::iovec from{reinterpret_cast<u64>(&f), sizeof f};
  const sys::abi::iovec to{address, sizeof f};
  const auto done = sys::process_vm_writev(sys::gettid(), from, to);
  return done.ok() && *done == sizeof f;
}

/// Below what is in use of the thread's stack: the red zone of 128 bytes (psABI), and the frame of
/// the trigger itself, which is still to be returned from, unless that is on the alternate stack.
inline u64 room_for_frame(const sys::abi::ucontext& context) {
  const u64 rsp = context.uc_mcontext.rsp;
  const u64 trigger = reinterpret_cast<u64>(&context) - 64;  // with what its handler has pushed
  const auto& alternate = context.uc_stack;
  const auto on_alternate = [&](u64 address) {
    return address - alternate.ss_sp < alternate.ss_size;
  };
  const bool elsewhere = on_alternate(trigger) && !on_alternate(rsp);
  return ((elsewhere ? rsp - 128 : trigger) - sizeof(timed_frame)) & ~u64{15};
}

/// The same of a thread that no signal has interrupted.
inline u64 room_for_frame_below(u64 rsp) {
  return (rsp - 128 - sizeof(timed_frame)) & ~u64{15};
}

inline u64 code_of(void (*label)()) {
  return reinterpret_cast<u64>(label);
}

}  // namespace timed_detail

/// Whether the thread is in agent_timed_call, in front of the call.
[[nodiscard]] inline bool before_timed_call(const sys::abi::sigcontext& regs) {
  return regs.rip == timed_detail::code_of(&agent_timed_call);
}

/// A timed call of ours has been interrupted: on with what is left. False when it is none.
// Context: signal handler
inline bool go_on_with_timed_call(const copied_memory& read, sys::abi::sigcontext& regs) {
  using namespace timed_detail;
  if (regs.rip != code_of(&agent_timed_call_done)) return false;
  timed_frame f{};
  if (!read(regs.rsp, &f, sizeof f)) return false;
  const i64 now = monotonic_now();
  const i64 gone = now - f.since_ns;
  f.left_ns = gone < f.left_ns ? f.left_ns - (gone > 0 ? gone : 0) : 0;
  f.since_ns = now;
  set_limit(f, regs.rsp, regs);
  if (!put(regs.rsp, f)) return false;
  regs.rip = code_of(&agent_timed_call);
  regs.rax = f.number;
  return true;
}

/// Lets the call with that number, to which regs.rip points, be made by agent_timed_call if it has
/// a relative limit, with its frame at that address. False when it has none, or when there is no
/// room for the frame.
// Context: signal handler; helper, all threads frozen
inline bool make_timed_call(const copied_memory& read, u64 number, sys::abi::sigcontext& regs,
                            u64 frame) {
  using namespace timed_detail;
  const auto place = limit_of(number, regs);
  if (place.is == limit_place::kind::none) return false;
  timed_frame f{regs.rdi,     regs.rsi, regs.rdx, regs.r10, regs.r8,         regs.r9,
                regs.rip + 2, regs.rsp, number,   0,        monotonic_now(), {}};
  if (place.is == limit_place::kind::milliseconds) {
    const i32 ms = static_cast<i32>(regs.*place.reg);
    if (ms < 0) return false;
    f.left_ns = i64{ms} * 1'000'000;
  } else {
    sys::abi::timespec limit{};
    const u64 from = place.rest != 0 ? place.rest : regs.*place.reg;
    constexpr i64 a_century = i64{100} * 366 * 86400;
    if (from == 0 || !read(from, &limit, sizeof limit) || limit.tv_sec < 0 ||
        limit.tv_sec > a_century || limit.tv_nsec < 0 || limit.tv_nsec >= 1'000'000'000)
      return false;
    f.left_ns = limit.tv_sec * 1'000'000'000 + limit.tv_nsec;
  }
  set_limit(f, frame, regs);
  if (!put(frame, f)) {
    regs.rdi = f.rdi, regs.rsi = f.rsi, regs.rdx = f.rdx;
    regs.r10 = f.r10, regs.r8 = f.r8, regs.r9 = f.r9;
    return false;
  }
  regs.rsp = frame;
  regs.rip = code_of(&agent_timed_call);
  return true;
}

/// CLOCK_MONOTONIC counts from another boot now.
// Context: agent, in restored memory
inline void restart_timed_call(const sys::abi::sigcontext& regs) {
  if (before_timed_call(regs)) reinterpret_cast<timed_frame*>(regs.rsp)->since_ns = monotonic_now();
}

}  // namespace ckpt::agent
