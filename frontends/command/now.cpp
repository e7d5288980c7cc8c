// SPDX-License-Identifier: MIT
#include "now.hpp"

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../hijack/outside.hpp"

namespace ckpt::command {

bool now_options::take_pid(std::string_view value) {
  const auto number = parse_number(value);
  if (!number.ok() || *number == 0 || *number > INT_MAX) return false;
  pid = static_cast<pid_t>(*number);
  return true;
}

int checkpoint_now(const now_options& options, const agent::config& given) {
  constexpr int failure = 1;
  const auto say = [&](std::string_view why) {
    std::fprintf(stderr, "ckpt: cannot checkpoint process %d: %.*s\n", options.pid,
                 static_cast<int>(why.size()), why.data());
    return failure;
  };
  if (!options.now)
    return say("this version takes only a process that has the agent already; give --now");
  // The name and the variables are those of the shell that has typed this, not the program's.
  agent::config config = given;
  if (const char* name = std::getenv("CKPT_NAME"); config.name.empty() && name != nullptr && *name != '\0')
    if (!config.set(options::id::name, name)) return say("CKPT_NAME is no name of a file");
  if (const char* on = std::getenv("CKPT_CONTINUE"); !config.continues_given && on != nullptr)
    (void)config.set(options::id::continues, on);
  hijack::outside_wish wish;
  wish.goes_on = config.continues;
  if (!config.name.empty()) {
    agent::make_absolute(config.name);
    if (config.name.truncated()) return say("the name is too long");
    wish.name = config.name.view();
  }
  report why;
  hijack::outside_answer answer;
  if (!hijack::checkpoint_from_outside(options.pid, wish, answer, why).ok()) {
    constexpr std::string_view from_agent = "no checkpoint of ";
    if (!why.line().starts_with(from_agent)) return say(why.line());
    std::fprintf(stderr, "ckpt: %.*s\n", static_cast<int>(why.line().size()), why.line().data());
    return failure;
  }
  std::printf("%s\n", answer.line.c_str());
  return std::fflush(stdout) == 0 ? 0 : failure;
}

}  // namespace ckpt::command
