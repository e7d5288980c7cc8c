// SPDX-License-Identifier: MIT
//
// What x86-64 gives: the registers of a held thread, and how to make it call the kernel or a
// function by setting them.
#pragma once

#include <elf.h>
#include <sys/syscall.h>
#include <sys/user.h>

#include <array>
#include <span>

#include "ckpt/base/types.hpp"

namespace ckpt::hijack {

using registers = user_regs_struct;

inline constexpr std::array<u8, 2> system_call_instruction{0x0f, 0x05};
inline constexpr u16 elf_machine = EM_X86_64;
inline constexpr u32 relative_relocation = R_X86_64_RELATIVE;
inline constexpr u32 word_relocation = R_X86_64_GLOB_DAT;
/// What the kernel wants to know the vector state by: NT_X86_XSTATE (asm/ptrace, elf.h).
inline constexpr int vector_state_note = NT_X86_XSTATE;

inline u64 program_counter(const registers& r) {
  return r.rip;
}
inline u64 stack_pointer(const registers& r) {
  return r.rsp;
}
/// False for a thread that runs 32-bit code.
inline bool runs_native_code(const registers& r) {
  return r.cs == 0x33;
}

/// The flags of a borrowed thread: interrupts, and the nested task flag as it was, which is ptrace's to
/// set and which rt_sigreturn(2) leaves alone. Source: arch/x86/include/asm/sigframe.h, FIX_EFLAGS.
inline u64 borrowed_flags(u64 theirs) {
  constexpr u64 interrupts = 0x202, nested_task = 1 << 14;
  return interrupts | (theirs & nested_task);
}

/// A system call that the stop has interrupted is made again, as the kernel would do it where no
/// handler runs. Source: arch/x86/kernel/signal.c, arch_do_signal_or_restart.
inline void make_interrupted_call_again(registers& r) {
  constexpr i64 restart_sys = -512, restart_no_intr = -513, restart_no_hand = -514,
                restart_block = -516;
  if (static_cast<i64>(r.orig_rax) < 0) return;
  switch (static_cast<i64>(r.rax)) {
    case restart_sys:
    case restart_no_intr:
    case restart_no_hand:
      r.rax = r.orig_rax;
      break;
    case restart_block:
      r.rax = SYS_restart_syscall;
      break;
    default:
      return;
  }
  r.rip -= system_call_instruction.size();
  r.orig_rax = ~u64{0};
}

/// orig_rax is what tells the kernel to make an interrupted call again: never one of ours.
inline void prepare_system_call(registers& r, u64 instruction, u64 number,
                                const std::array<u64, 6>& arguments) {
  r.rip = instruction;
  r.rax = number;
  r.orig_rax = ~u64{0};
  r.rdi = arguments[0];
  r.rsi = arguments[1];
  r.rdx = arguments[2];
  r.r10 = arguments[3];
  r.r8 = arguments[4];
  r.r9 = arguments[5];
}
inline u64 system_call_result(const registers& r) {
  return r.rax;
}

/// The stack pointer is where the return address has been put: 8 below a multiple of 16.
inline void prepare_function_call(registers& r, u64 function, u64 stack,
                                  const std::array<u64, 3>& arguments) {
  r.rip = function;
  r.rsp = stack;
  r.rbp = 0;
  r.rax = 0;
  r.orig_rax = ~u64{0};
  r.rdi = arguments[0];
  r.rsi = arguments[1];
  r.rdx = arguments[2];
  constexpr u64 direction = 0x400, single_step = 0x100;
  r.eflags &= ~(direction | single_step);
}

/// As agent_begin_alone wants it (agent.S): what the thread had, and where it would have gone.
inline void prepare_detour(registers& r, u64 function, const std::array<u64, 3>& arguments) {
  r.rcx = r.rip;
  r.rip = function;
  r.orig_rax = ~u64{0};
  r.rdi = arguments[0];
  r.rsi = arguments[1];
  r.rdx = arguments[2];
}

/// Whether a thread that enters the kernel does so from the given instruction and stack.
inline bool enters_from(const registers& r, u64 instruction, u64 stack) {
  return r.rip == instruction + system_call_instruction.size() && r.rsp == stack;
}

/// Where the call that it is in returns to.
inline void return_to(registers& r, const registers& other) {
  r.rip = other.rip;
  r.rsp = other.rsp;
}

/// At the entry of a system call: makes another one of it, which changes nothing and which every
/// filter allows. (Number -1 would skip it, but filters see that as an unknown call.)
inline void make_harmless(registers& r) {
  r.orig_rax = SYS_getpid;
}

}  // namespace ckpt::hijack
