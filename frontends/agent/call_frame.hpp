// SPDX-License-Identifier: MIT
//
// A checkpoint that the program asks for by a call, made to look like one that a signal asked for:
// the context that a signal at the call's return would have had. The image has the program come
// back from agent_ask with another answer.
#pragma once

#include "ckpt/state/x86_64/signal_frame.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

/// What agent_ask (agent.S) has pushed: what a function must leave as it was, and where it returns.
struct saved_registers {
  u64 flags, r15, r14, r13, r12, rbx, rbp, rip;
};

class call_frame {
 public:
  /// `mask` is the program's; the call has blocked all signals.
  // Context: triggering thread, on the agent's stack
  call_frame(const saved_registers& saved, u64 mask, u64 answer_of_restart) {
    auto& regs = context_.uc_mcontext;
    regs.r12 = saved.r12, regs.r13 = saved.r13, regs.r14 = saved.r14, regs.r15 = saved.r15;
    regs.rbx = saved.rbx, regs.rbp = saved.rbp;
    regs.rip = saved.rip;
    regs.rsp = reinterpret_cast<u64>(&saved + 1);
    regs.rax = answer_of_restart;
    regs.eflags = saved.flags;
    context_.uc_sigmask = mask;
    (void)sys::sigaltstack(nullptr, &context_.uc_stack);
    save_extended();
    regs.fpstate = reinterpret_cast<u64>(extended_);
  }
  call_frame(const call_frame&) = delete;
  call_frame& operator=(const call_frame&) = delete;

  [[nodiscard]] sys::abi::ucontext& context() { return context_; }

 private:
  /// Of the extended state a call keeps the control words of x87 and SSE and the protection keys.
  void save_extended() {
    constexpr u64 protection_keys = 1 << 9;
    const u64 kept = (3 | protection_keys) & sys::arch::enabled_components();
    sys::abi::fpx_sw_bytes sw{};
    if (sys::arch::has_xsave()) {
      const auto place = sys::arch::place_of_component(9);
      u64 size = sys::abi::fxsave_size + sys::abi::xsave_header_size;
      if ((kept & protection_keys) != 0 && place.offset + place.size > size)
        size = place.offset + place.size;
      if (size <= sizeof extended_) {
        __asm__ volatile("xsave64 (%0)"
                         :
                         : "r"(extended_), "a"(static_cast<u32>(kept)), "d"(0)
                         : "memory");
        sw.magic1 = sys::abi::fp_xstate_magic1;
        sw.xfeatures = kept;
        sw.xstate_size = static_cast<u32>(size);
        std::memcpy(extended_ + sys::abi::fpx_sw_offset, &sw, sizeof sw);
        return;
      }
    }
    __asm__ volatile("fxsave64 (%0)" : : "r"(extended_) : "memory");
    std::memcpy(extended_ + sys::abi::fpx_sw_offset, &sw, sizeof sw);
  }

  sys::abi::ucontext context_{};
  alignas(state::signal_frame::alignment) std::byte extended_[12 * 1024] = {};
};

}  // namespace ckpt::agent
