// SPDX-License-Identifier: MIT
//
// ckpt --doctor [PID|IMAGE]: whether a checkpoint or a restart would work, and what stops it. Changes
// nothing in the process, which is never stopped.
#pragma once

#include <string>

#include "looks.hpp"

namespace ckpt::doctor {

/// Prints its findings; 0 for yes, 1 for no. `operand` is a process number, the path of an image, or
/// empty for this machine. `program_name(pid)` gives the name that an image has by default.
int run(const std::string& operand, bool as_json, wishes asked, std::string (*program_name)(pid_t));

}  // namespace ckpt::doctor
