// SPDX-License-Identifier: MIT
//
// A program with ckpt as its parent: --resume, --on, --exit-code. To the shell, the terminal and the
// queue ckpt is the program: it stops when the program stops and ends as the program ends, and what
// is signalled to it alone reaches the program, but for the signals that it takes for itself.
#pragma once

#include <string>
#include <string_view>

#include "../agent/config.hpp"
#include "launch.hpp"

namespace ckpt::command {

enum class on_signal : u8 { pass_on, checkpoint_and_exit, checkpoint_and_continue };

struct job_options {
  bool resume = false;
  bool fresh_if_bad = false;
  bool keep_image = false;
  bool exit_code_given = false;
  int exit_code = 0;
  bool on_given = false;
  on_signal on[sys::abi::signal_count + 1] = {};

  [[nodiscard]] bool any() const {
    return resume || fresh_if_bad || keep_image || exit_code_given || on_given;
  }
};

enum class taken { no, yes, wrong };
taken take_job_option(job_options& job, options::id id, std::string_view value);

/// Runs the program to its end; what ckpt is to exit with. Ends by the same signal as the program.
int run_job(const job_options& job, const settings& settings, const agent::config& config,
            char** command_line);

}  // namespace ckpt::command
