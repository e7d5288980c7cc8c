// SPDX-License-Identifier: MIT
#include <csignal>
#include <string_view>

#include "job.hpp"

namespace ckpt::command {
namespace {

/// SIGTERM=exit,SIGUSR1=continue
bool take_on(job_options& job, std::string_view list) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto field = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos || (comma != std::string_view::npos && list.empty())) return false;
    const auto signal = options::parse_signal(field.substr(0, equals));
    const auto what = field.substr(equals + 1);
    // Its own children's ends are ckpt's, and faults are the program's.
    if (!signal.ok() || *signal == 0 || *signal == SIGCHLD || *signal == SIGCONT) return false;
    if (what != "exit" && what != "continue") return false;
    job.on[*signal] =
        what == "exit" ? on_signal::checkpoint_and_exit : on_signal::checkpoint_and_continue;
    job.on_given = true;
  }
  return job.on_given;
}

}  // namespace

taken take_job_option(job_options& job, options::id id, std::string_view value) {
  switch (id) {
    case options::id::resume: job.resume = true; return taken::yes;
    case options::id::fresh_if_bad: job.fresh_if_bad = true; return taken::yes;
    case options::id::keep_image: job.keep_image = true; return taken::yes;
    case options::id::on: return take_on(job, value) ? taken::yes : taken::wrong;
    case options::id::exit_code: {
      const auto number = parse_number(value);
      if (!number.ok() || *number > 255) return taken::wrong;
      job.exit_code = static_cast<int>(*number);
      job.exit_code_given = true;
      return taken::yes;
    }
    default: return taken::no;
  }
}

}  // namespace ckpt::command
