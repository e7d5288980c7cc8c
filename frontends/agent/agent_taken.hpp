// SPDX-License-Identifier: MIT
//
// The agent's lock for the length of a scope, in a function of ckpt.h.
#pragma once

#include "agent_lock.hpp"
#include "agent_state.hpp"

namespace ckpt::agent {

/// The agent's lock, unless the calling thread has it: in a callback.
class agent_taken {
 public:
  // Context: any, no libc
  agent_taken() : here_(!state_of_agent.callbacks.running_here()) {
    if (here_) agent_lock::take();
  }
  ~agent_taken() {
    if (here_) agent_lock::give_back();
  }
  agent_taken(const agent_taken&) = delete;
  agent_taken& operator=(const agent_taken&) = delete;

 private:
  const signals_blocked quiet_;
  const bool here_;
};

}  // namespace ckpt::agent
