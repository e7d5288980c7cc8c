// SPDX-License-Identifier: MIT
#include "now.hpp"

#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "../hijack/attach.hpp"
#include "../hijack/outside.hpp"
#include "../hijack/text_of_file.hpp"

namespace ckpt::command {

bool now_options::take_pid(std::string_view value) {
  const auto number = parse_number(value);
  if (!number.ok() || *number == 0 || *number > INT_MAX) return false;
  pid = static_cast<pid_t>(*number);
  return true;
}

std::string program_name(pid_t pid) {
  const std::string directory = "/proc/" + std::to_string(pid);
  std::string name = hijack::text_of_file(directory + "/cmdline").c_str();
  if (name.starts_with('-')) name.erase(0, 1);
  if (name.empty() || name.find_first_of(" :") != std::string::npos) {
    char link[PATH_MAX];
    const ssize_t size = readlink((directory + "/exe").c_str(), link, sizeof link);
    name = size > 0 ? std::string(link, static_cast<std::size_t>(size)) : "program";
    constexpr std::string_view deleted = " (deleted)";
    if (name.ends_with(deleted)) name.erase(name.size() - deleted.size());
  }
  return std::string(ckpt::options::base_of(name));
}

namespace {

constexpr int failure = 1;

int say(const now_options& options, const char* what, std::string_view why) {
  std::fprintf(stderr, "ckpt: cannot %s process %d: %.*s\n", what, options.pid,
               static_cast<int>(why.size()), why.data());
  return failure;
}

/// What the agent is told: the command line's options, the variables of whoever has typed it, and
/// every path from his directory. False when a line has been printed.
bool options_for_agent(const now_options& asked, const settings& given, std::string& text,
                       bool& try_seccomp) {
  agent::config config;
  const auto add = [&](const ckpt::options::option& o, std::string_view value) {
    if (!config.set(o.id, value)) return false;
    std::string absolute(value);
    fixed_text<agent::name_capacity> path = config.name;
    if (o.id == options::id::name) agent::make_absolute(path);
    if (o.id == options::id::log) agent::make_absolute_log(path = config.log);
    if (o.id == options::id::name || o.id == options::id::log) {
      if (path.truncated() || path.empty()) return false;
      absolute = path.view();
    }
    if (!text.empty()) text += agent::launch_separator;
    text.append(o.long_name.empty() ? o.variable : o.long_name).append("=").append(absolute);
    return true;
  };
  for (const auto& o : options::table) {
    // A program that runs has chosen its code.
    if ((o.readers & options::agent) == 0 || o.id == options::id::cpu) continue;
    bool by_option = false;
    for (const auto& [key, value] : given) {
      if (o.long_name.empty() || key != o.long_name) continue;
      by_option = true;
      if (add(o, value)) continue;
      say(asked, "put the agent into", "the name is too long");
      return false;
    }
    const char* value = o.variable.empty() ? nullptr : std::getenv(std::string(o.variable).c_str());
    if (by_option || value == nullptr || *value == '\0' || add(o, value)) continue;
    fixed_text<600> why;
    why.append(o.variable).append('=').append(quoted{std::string_view(value).substr(0, 200)});
    why.append(" means nothing (").append(o.meaning).append(')');
    say(asked, "put the agent into", why.view());
    return false;
  }
  try_seccomp = config.try_seccomp;
  return true;
}

/// False when a line has been printed.
bool bring_agent(const now_options& asked, const settings& given) {
  hijack::attach_plan plan;
  if (!options_for_agent(asked, given, plan.options, plan.try_seccomp)) return false;
  plan.only_new = asked.now;
  const auto cannot = [&](std::string_view why) {
    say(asked, "put the agent into", why);
    return false;
  };
  const std::string library = library_path();
  if (library.empty())
    return cannot("libckpt.so is not beside the ckpt command; install it again");
  report why;
  fixed_text<agent::name_capacity> name;
  options::append_literally(name, program_name(hijack::program_behind(asked.pid)));
  name.append(".ckpt");
  agent::make_absolute(name);
  plan.default_name = name.view();
  plan.transfer = transfer_path();
  hijack::attached done;
  auto outcome = plan.agent.read(library, why);
  if (outcome.ok()) outcome = hijack::put_into_running_program(asked.pid, plan, done, why);
  if (!outcome.ok()) return cannot(why.line());
  if (done.kept_signal == 0 || asked.now) return true;
  fixed_text<256> signal;
  if (done.kept_signal < 32)
    signal.append("SIG").append(options::signal_names[done.kept_signal]);
  else
    signal.append("signal ").append(done.kept_signal);
  std::fprintf(stderr,
               "ckpt: process %d handles %s itself and keeps it; checkpoint it by ckpt -p %d --now, "
               "or choose a signal with -a\n",
               asked.pid, signal.c_str(), asked.pid);
  return true;
}

int checkpoint_now(const now_options& options, const agent::config& given) {
  const auto say = [&](std::string_view why) {
    return command::say(options, "checkpoint", why);
  };
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

}  // namespace

int attach(const now_options& options, const settings& given, const agent::config& checked) {
  if (options.remove) {
    hijack::attach_plan plan;
    plan.remove = true;
    hijack::attached done;
    report why;
    if (hijack::put_into_running_program(options.pid, plan, done, why).ok()) return 0;
    return say(options, "take the agent out of", why.line());
  }
  if (!(options.now && hijack::has_agent(options.pid)) && !bring_agent(options, given))
    return failure;
  return options.now ? checkpoint_now(options, checked) : 0;
}

}  // namespace ckpt::command
