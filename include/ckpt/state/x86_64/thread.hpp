// SPDX-License-Identifier: MIT
//
// One thread: general registers, segment bases, signal mask, alternate stack, what it registered
// with the kernel (rseq, robust list, clear_child_tid), its name; and the extended state, one
// record for each component that is in use. How it goes back: state/x86_64/signal_frame.hpp.
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

enum class thread_flag : u32 {
  call_made_again = 1,  // a call that no SA_RESTART would have restarted is made again
  ended_program = 2,    // the checkpoint that this thread triggered ended the program
};
constexpr u32 all_of(thread_flag) { return 3; }

struct thread {
  static constexpr auto record = format::record_type::thread;
  wire::le<i32> tid;
  wire::flags<thread_flag> flags;
  wire::le<u64> r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip,
      rflags;
  wire::le<u64> fs_base;
  wire::le<u64> gs_base;
  wire::le<u64> signal_mask;
  wire::le<u64> alternate_stack;
  wire::le<u64> alternate_stack_size;
  wire::le<u32> alternate_stack_flags;
  wire::le<u32> rseq_size;
  wire::le<u64> rseq_address;
  wire::le<u32> rseq_signature;
  wire::le<u32> robust_list_size;
  wire::le<u64> robust_list;
  wire::le<u64> clear_child_tid;
  wire::text<16> name;
};

struct extended_state {
  static constexpr auto record = format::record_type::extended_state;
  wire::le<i32> tid;
  wire::le<u32> component;
};

/// What ptrace has of a thread, as a signal's frame has it.
[[nodiscard]] inline sys::abi::sigcontext context_of(const sys::abi::user_regs& r) {
  sys::abi::sigcontext c{};
  c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11, c.r12 = r.r12, c.r13 = r.r13;
  c.r14 = r.r14, c.r15 = r.r15, c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx;
  c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp, c.rip = r.rip, c.eflags = r.eflags;
  return c;
}

/// Where rt_sigreturn finds the registers. Shared by capture (from the trigger's frame) and
/// restore (into a frame of our own).
inline void registers_from(const sys::abi::sigcontext& from, thread& to) {
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rdi = from.rdi, to.rsi = from.rsi, to.rbp = from.rbp, to.rbx = from.rbx;
  to.rdx = from.rdx, to.rax = from.rax, to.rcx = from.rcx, to.rsp = from.rsp;
  to.rip = from.rip, to.rflags = from.eflags;
}
inline void registers_to(const thread& from, sys::abi::sigcontext& to) {
  to.r8 = from.r8, to.r9 = from.r9, to.r10 = from.r10, to.r11 = from.r11;
  to.r12 = from.r12, to.r13 = from.r13, to.r14 = from.r14, to.r15 = from.r15;
  to.rdi = from.rdi, to.rsi = from.rsi, to.rbp = from.rbp, to.rbx = from.rbx;
  to.rdx = from.rdx, to.rax = from.rax, to.rcx = from.rcx, to.rsp = from.rsp;
  to.rip = from.rip, to.eflags = from.rflags;
}

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::thread, tid, flags, r8, r9, r10, r11, r12, r13, r14, r15,
                        rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, rflags, fs_base, gs_base,
                        signal_mask, alternate_stack, alternate_stack_size, alternate_stack_flags,
                        rseq_size, rseq_address, rseq_signature, robust_list_size, robust_list,
                        clear_child_tid, name);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::extended_state, tid, component);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::thread> = description<33>{
    "thread",
    "One thread of the program; the first is the one that goes on first.",
    {"gettid(2)",
     "1: its next instruction makes a call again that a signal would have ended whether or not its "
     "handler has SA_RESTART",
     "", "", "", "", "", "", "", "", "", "", "", "", "", "", "",
     "stack pointer", "next instruction", "flags register", "FS segment base (thread-local storage)",
     "GS segment base", "blocked signals, bit n-1 for signal n",
     "sigaltstack(2): address", "sigaltstack(2): size", "sigaltstack(2): flags",
     "bytes registered with rseq(2), 0 for none", "address registered with rseq(2)",
     "signature registered with rseq(2)", "length given to set_robust_list(2)",
     "address given to set_robust_list(2)", "address given to set_tid_address(2)",
     "name of the thread (comm)"}};
template <>
inline constexpr auto describe<state::extended_state> = description<2>{
    "extended_state",
    "One XSAVE state component of a thread in the tail. Components that are not listed are in their "
    "initial state.",
    {"the thread", "0: the 512 bytes of FXSAVE (x87, SSE, MXCSR); otherwise the component's number "
                   "in XCR0"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<thread, 248>());
static_assert(wire::laid_out_in<extended_state, 8>());

}  // namespace ckpt::state
