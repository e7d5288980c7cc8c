// SPDX-License-Identifier: MIT
//
// ckpt -p PID: the agent into a process that runs already. With --now a checkpoint of it, without any
// signal to it.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "../agent/config.hpp"
#include "launch.hpp"

namespace ckpt::command {

struct now_options {
  pid_t pid = 0;
  bool now = false;
  bool remove = false;
  bool take_pid(std::string_view value);
};

/// As the program was called, like at launch; a title that it has written there is no name.
std::string program_name(pid_t pid);

/// 0 when the agent is in it, and with --now when the image is complete under its name, which is
/// printed; otherwise 1.
int attach(const now_options& options, const settings& given, const agent::config& checked);

}  // namespace ckpt::command
