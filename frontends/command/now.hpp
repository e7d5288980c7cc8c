// SPDX-License-Identifier: MIT
//
// ckpt -p PID --now: a checkpoint of a process that has the agent, without any signal to it.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "../agent/config.hpp"

namespace ckpt::command {

struct now_options {
  pid_t pid = 0;
  bool now = false;
  bool take_pid(std::string_view value);
};

/// 0 when the image is complete under its name, which is printed; otherwise 1, or 2 for usage.
int checkpoint_now(const now_options& options, const agent::config& given);

}  // namespace ckpt::command
