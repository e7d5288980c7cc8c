// SPDX-License-Identifier: MIT
//
// The agent into a program that runs already and was started without it.
//
// All threads are held; one of them makes a few system calls and runs the agent's constructor, and
// then has everything again. Whoever does this may die at any moment: while the thread is borrowed, it
// stands where the kernel's signal return brings it back to what it was doing.
#pragma once

#include <sys/types.h>

#include <string>

#include "shared_object.hpp"

namespace ckpt::hijack {

struct attach_plan {
  shared_object agent;
  std::string options;       // as the launch variable has them (agent/config.hpp)
  std::string default_name;  // absolute; for a program that has no agent yet
  std::string transfer;      // a ckpt-transfer, for such a one
  bool try_seccomp = false;
  bool remove = false;  // takes the agent out again
  bool only_new = false;  // an agent that is there already keeps its options
};

struct attached {
  bool was_there = false;
  int kept_signal = 0;  // the program handles the trigger, and keeps it
};

/// When this returns with an error, the program is as it was.
result<void> put_into_running_program(pid_t pid, const attach_plan& plan, attached& done,
                                      report& why);

}  // namespace ckpt::hijack
