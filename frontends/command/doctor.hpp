// SPDX-License-Identifier: MIT
//
// --doctor: what the doctor is asked with, from the command line and the variables of whoever asks.
#pragma once

#include "../agent/config.hpp"
#include "now.hpp"

namespace ckpt::command {

struct doctor_options {
  bool asked = false;
  bool as_json = false;
};

/// The exit status. `operand` is a process number, an image, or empty.
int examine(const doctor_options& options, const now_options& process, const char* operand,
            const agent::config& given);

}  // namespace ckpt::command
