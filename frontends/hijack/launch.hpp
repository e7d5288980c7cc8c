// SPDX-License-Identifier: MIT
//
// Puts the agent into a program that is about to be executed, before its first instruction: for
// programs that no LD_PRELOAD reaches.
#pragma once

#include <string>

#include "shared_object.hpp"

namespace ckpt::hijack {

struct launch_plan {
  shared_object agent;
  std::string options;  // for the agent, as its launch variable has them
  std::string program;  // as messages name it
};

/// Returns when another process, nobody's child, holds this one: the next program that it executes
/// starts with the agent in it, or ends with status 125 and a line. Signals, children and
/// descriptors are as they were. When execve fails, the other process ends with this one.
result<void> inject_at_exec(const launch_plan& plan, report& why);

}  // namespace ckpt::hijack
