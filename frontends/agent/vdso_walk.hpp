// SPDX-License-Identifier: MIT
//
// The trigger may find its thread inside the vDSO, and a machine with another kernel has other code
// there. The thread itself waits in the agent; what it would do next does a task of the helper's own, with
// its registers and in the same memory, by single steps until it is out. The thread then goes on from
// there. Nothing happens to the thread should the helper die meanwhile, and the task dies with it.
#pragma once

#include "freezer.hpp"
#include "stopped_call.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

/// One instruction further; to the first one of a handler when a signal comes before.
// Context: helper
inline result<void> step_task(int tid) {
  constexpr int spins = 200;
  for (int signal = 0;;) {
    (void)sys::ptrace(sys::abi::ptrace_singlestep, tid, 0, signal);
    const int status = CKPT_TRY(wait_for_stop(tid, patience_to_stop, spins));
    signal = signal_of_stop(status);
    if (signal == sys::abi::sig_trap || status >> 16 != 0) return {};
  }
}

class vdso_walk {
 public:
  vdso_walk(session& s, const state::extended_layout& layout) : s_(s), layout_(layout) {}

  /// Where anything of it is not to be had, the thread is saved as it stands.
  // Context: helper, all threads frozen
  template <class Within>
  [[gnu::cold]] result<void> leave(sys::abi::ucontext& context, Within&& within) {
    auto& at = context.uc_mcontext;
    if (!within(at.rip) || at.fpstate == 0 || !layout_.has_xsave) return {};
    const auto stack = CKPT_TRY(s_.arena.take(page_size));
    area_ = CKPT_TRY(s_.arena.take(page_up(layout_.full_size))).first(layout_.full_size);
    const long task = start_task(sys::abi::clone_vm | sys::abi::clone_untraced,
                                 stack.data() + stack.size(), nullptr, nullptr, &wait_to_walk, nullptr);
    if (task < 0) return {};
    tid_ = static_cast<int>(task);
    if (hold() && put(at)) {
      for (int steps = 0; steps < most_steps && within(registers_.rip) && !at_call(); ++steps)
        if (!step_task(tid_).ok() || !transfer(sys::abi::ptrace_getregset)) break;
      take(at);
    }
    (void)sys::kill(tid_, sys::abi::sig_kill);
    (void)sys::wait4(tid_, nullptr, sys::abi::w_all);
    return {};
  }

 private:
  /// As for the other threads (thread_report.hpp).
  static constexpr int most_steps = 600;

  static void wait_to_walk(void*) {
    while (current().helper_alive()) (void)sys::nanosleep({0, 1'000'000});
    sys::exit_group(0);
  }

  [[nodiscard]] bool hold() const {
    return sys::ptrace(sys::abi::ptrace_seize, tid_, 0, sys::abi::ptrace_o_exitkill).ok() &&
           sys::ptrace(sys::abi::ptrace_interrupt, tid_, 0, 0).ok() &&
           wait_stopped(tid_, patience_to_stop).ok();
  }

  /// A system call would tell of this task and not of the thread (CLOCK_THREAD_CPUTIME_ID).
  [[nodiscard]] bool at_call() const {
    constexpr u8 call[] = {0x0f, 0x05};
    return std::memcmp(reinterpret_cast<const void*>(registers_.rip), call, sizeof call) == 0;
  }

  bool transfer(int request) {
    const sys::abi::iovec general{reinterpret_cast<u64>(&registers_), sizeof registers_};
    const sys::abi::iovec vectors{reinterpret_cast<u64>(area_.data()), area_.size()};
    return sys::ptrace(request, tid_, sys::abi::nt_prstatus, &general).ok() &&
           sys::ptrace(request, tid_, sys::abi::nt_x86_xstate, &vectors).ok();
  }

  /// The extended area of the thread's frame, as far as both have it.
  [[nodiscard]] static u64 length_of(const std::byte* frame, u64 most) {
    sys::abi::fpx_sw_bytes sw{};
    std::memcpy(&sw, frame + sys::abi::fpx_sw_offset, sizeof sw);
    if (sw.magic1 != sys::abi::fp_xstate_magic1) return 0;
    return sw.xstate_size < most ? sw.xstate_size : most;
  }

  bool put(const sys::abi::sigcontext& c) {
    const auto* frame = reinterpret_cast<const std::byte*>(c.fpstate);
    const u64 length = length_of(frame, area_.size());
    if (length == 0 || !transfer(sys::abi::ptrace_getregset)) return false;
    std::memset(area_.data(), 0, area_.size());
    std::memcpy(area_.data(), frame, length);
    auto& r = registers_;
    r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11, r.r12 = c.r12, r.r13 = c.r13;
    r.r14 = c.r14, r.r15 = c.r15, r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx;
    r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp, r.rip = c.rip, r.eflags = c.eflags;
    r.orig_rax = ~u64{0};
    return transfer(sys::abi::ptrace_setregset);
  }

  void take(sys::abi::sigcontext& c) {
    auto* frame = reinterpret_cast<std::byte*>(c.fpstate);
    constexpr u64 header = sys::abi::fxsave_size;
    const u64 length = length_of(frame, area_.size());
    std::memcpy(frame, area_.data(), sys::abi::fpx_sw_offset);  // what is between is the kernel's
    std::memcpy(frame + header, area_.data() + header, length - header);
    auto after = state::context_of(registers_);
    after.cs = c.cs, after.gs = c.gs, after.fs = c.fs, after.ss = c.ss;
    after.err = c.err, after.trapno = c.trapno, after.oldmask = c.oldmask, after.cr2 = c.cr2;
    after.fpstate = c.fpstate;
    c = after;
  }

  session& s_;
  const state::extended_layout& layout_;
  int tid_ = 0;
  mutable_bytes area_;
  sys::abi::user_regs registers_{};
};

}  // namespace ckpt::agent
