// SPDX-License-Identifier: MIT
//
// The system call in which the helper has stopped a thread. Nobody may see that it was: here the
// kernel makes the call again when the thread goes on, with its own knowledge of what is left of a
// time limit; in the image it is made again as it stood.
//
// Some calls say -EINTR at once instead of leaving the choice to the kernel (epoll_wait,
// rt_sigtimedwait, semtimedop, sockets with a time limit: signal(7)). Their result is turned into
// one that leaves the choice: made again, unless a signal of the program's own ends it.
#pragma once

#include "thread_slot.hpp"
#include "timed_call.hpp"

namespace ckpt::agent {

namespace stopped_detail {
/// What making a call again may change.
inline void take_back(sys::abi::user_regs& r, const sys::abi::sigcontext& c) {
  r.rdi = c.rdi, r.rsi = c.rsi, r.rdx = c.rdx, r.r10 = c.r10, r.r8 = c.r8, r.r9 = c.r9;
  r.rip = c.rip, r.rsp = c.rsp, r.rax = c.rax;
}
constexpr u64 call_length = 2;

inline bool ended_early(const sys::abi::user_regs& r) {
  return static_cast<i64>(r.rax) == -4 /* EINTR */ && static_cast<i64>(r.orig_rax) >= 0 &&
         can_be_interrupted(r.orig_rax);
}
inline bool is_to_be_restarted(const sys::abi::user_regs& r) {
  const auto value = static_cast<i64>(r.rax);
  return static_cast<i64>(r.orig_rax) >= 0 &&
         (value == sys::abi::restart_sys || value == sys::abi::restart_no_intr ||
          value == sys::abi::restart_no_hand || value == sys::abi::restart_block);
}
}  // namespace stopped_detail

/// Mends t.live, and makes t.image of it.
// Context: helper, all threads frozen
inline void make_stopped_call_again(const copied_memory& read, thread_slot& t) {
  using namespace stopped_detail;
  const auto with_limit = [&](sys::abi::sigcontext& c, u64 number) {
    c.rip -= call_length;
    c.rax = number;
    (void)make_timed_call(read, number, c, timed_detail::room_for_frame_below(c.rsp));
  };
  if (ended_early(t.live)) {
    auto c = state::context_of(t.live);
    if (!go_on_with_timed_call(read, c)) with_limit(c, t.live.orig_rax);
    take_back(t.live, c);
    t.live.rip += call_length;
    t.live.orig_rax = c.rax;
    t.live.rax = static_cast<u64>(sys::abi::restart_no_hand);
  }
  t.image = t.live;
  if (!is_to_be_restarted(t.live)) return;
  auto c = state::context_of(t.live);
  const auto how = static_cast<i64>(t.live.rax);
  t.made_again = how == sys::abi::restart_no_hand || how == sys::abi::restart_block;
  if (how != sys::abi::restart_block) {
    c.rip -= call_length;
    c.rax = t.live.orig_rax;
  } else if (!go_on_with_timed_call(read, c)) {
    u64 number = t.live.orig_rax;
    if (number == __NR_restart_syscall) number = interrupted_number(read, c);
    if (number == not_found)
      c.rax = static_cast<u64>(-4);
    else
      with_limit(c, number);
  }
  take_back(t.image, c);
}

/// A thread inside a restartable sequence goes on at its abort handler: it is on no processor now.
/// Source: rseq(2), struct rseq_cs.
// Context: helper, all threads frozen
inline void abort_restartable_sequence(const copied_memory& read, thread_slot& t) {
  constexpr u64 sequence_offset = 8;  // struct rseq: rseq_cs
  struct {
    u32 version, flags;
    u64 start, length, abort;
  } sequence{};
  u64 at = 0;
  if (t.rseq.rseq_abi_pointer == 0 ||
      !read(t.rseq.rseq_abi_pointer + sequence_offset, &at, sizeof at) || at == 0 ||
      !read(at, &sequence, sizeof sequence))
    return;
  if (t.image.rip - sequence.start < sequence.length) t.image.rip = sequence.abort;
}

}  // namespace ckpt::agent
