// SPDX-License-Identifier: MIT
//
// One thread of the frozen program, as the helper holds it: what ptrace tells of it, and what only
// the thread can tell of itself. It lies in the arena, where the thread finds it as well: should
// the helper die while the thread is reporting, the thread goes back to its place by itself.
#pragma once

#include "ckpt/state/x86_64/signal_frame.hpp"
#include "session.hpp"

namespace ckpt::agent {

struct alignas(64) thread_slot {
  thread_slot* next = nullptr;
  int tid = 0;        // as the program knows it
  int outer_tid = 0;  // as /proc names it
  bool held = false;
  bool stopped = false;

  // By ptrace. `image` is what the thread goes on with in the image: a call that was interrupted is
  // made again there. `live` is what it goes on with here.
  sys::abi::user_regs live;
  sys::abi::user_regs image;
  bool made_again = false;
  bool probes_rseq = false;  // ptrace cannot tell: a kernel before 5.13
  u64 mask = 0;
  sys::abi::rseq_configuration rseq;
  state::signal_frame frame;  // its extended area holds the thread's, as NT_X86_XSTATE has it

  // By the thread.
  const session* all = nullptr;
  u32 reported = 0;
  sys::abi::stack alternate_stack;
  u64 clear_child_tid = 0;
  u64 shadow_stack = 0;
  char name[16];
  state::thread_settings settings;
};

}  // namespace ckpt::agent
