// SPDX-License-Identifier: MIT
//
// A program may put the trigger's disposition back without SA_SIGINFO: bash does, around each child.
// Then the kernel says nothing about the signal, and what lies in the frame's place for it is left
// over. A tick that is taken for a request would end the program.
#pragma once

#include "agent_state.hpp"

namespace ckpt::agent {

/// `signal` is 0 for a thread that came from outside.
// Context: signal handler
inline void know_signal(int signal, sys::abi::siginfo& info) {
  if (signal == 0) return;
  sys::abi::kernel_sigaction action{};
  const auto asked = sys::rt_sigaction(signal, nullptr, &action);
  if (!asked.ok() || (action.flags & sys::abi::sa_siginfo) != 0) return;
  info = {};
  info.si_signo = signal;
  if (state_of_agent.period.is_due()) state_of_agent.period.mark(info);
}

}  // namespace ckpt::agent
