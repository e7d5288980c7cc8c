// SPDX-License-Identifier: MIT
//
// The first entry: the library has been loaded, or put into the program by hand. Options are read
// and taken out of what children inherit, and the trigger is installed.
#pragma once

#include "agent_state.hpp"
#include "defaults.hpp"
#include "environment.hpp"
#include "other_agent.hpp"
#include "outside.hpp"

namespace ckpt::agent {

inline void complain_of_length(std::string_view variable, u64 length) {
  fixed_text<256> line;
  line.append(variable).append(" has ").append(length);
  line.append(" characters; a name may have 1023, so it is ignored");
  say(line.view());
}
inline void complain(std::string_view variable, std::string_view value, std::string_view meaning) {
  fixed_text<1024> line;
  line.append(variable).append('=').append(quoted{value.substr(0, 200)});
  line.append(" means nothing and is ignored (").append(meaning).append(')');
  say(line.view());
}

/// "once per process tree under an inherited LD_PRELOAD": the value is taken out of what children
/// inherit, by emptying it where it stands.
inline void read_variables(const initial_stack& stack) {
  for (const auto& o : options::table) {
    if ((o.readers & options::agent) == 0 || o.variable.empty()) continue;
    char* value = stack.variable(o.variable);
    if (value == nullptr || *value == '\0') continue;
    if (state_of_agent.config.set(o.id, value)) continue;
    if (const std::string_view text(value); o.id == options::id::name && text.size() > 1023)
      complain_of_length(o.variable, text.size());
    else
      complain(o.variable, text, o.meaning);
    *value = '\0';
  }
}

struct users_preload {
  std::string_view value;
  bool there = false;
};

/// The ckpt command's own options.
inline users_preload read_options(std::string_view rest) {
  users_preload preload;
  while (!rest.empty()) {
    const auto end = rest.find(launch_separator);
    const auto field = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos) continue;
    const auto key = field.substr(0, equals);
    const auto value = field.substr(equals + 1);
    if (key == launch_preload) preload = {value, true};
    for (const auto& o : options::table)
      if (o.long_name == key) (void)state_of_agent.config.set(o.id, value);
  }
  return preload;
}

/// Reads the command's options and takes its traces away, so that children see the environment the
/// user had.
inline void read_launch(const initial_stack& stack) {
  char* launch = stack.variable(launch_variable);
  if (launch == nullptr) return;
  const auto preload = read_options(launch);
  if (char* now = stack.variable("LD_PRELOAD"); preload.there && now != nullptr) {
    // Ours stood before the user's, so the user's fits.
    std::memcpy(now, preload.value.data(), preload.value.size());
    now[preload.value.size()] = '\0';
  } else {
    stack.remove("LD_PRELOAD");
  }
  stack.remove(launch_variable);
}

inline void default_name(const initial_stack& stack) {
  auto& name = state_of_agent.config.name;
  if (name.empty()) {
    char link[name_capacity];
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self/exe", link, sizeof link);
    std::string_view program = size.ok() ? std::string_view(link, *size) : stack.argument(0);
    // A script's name says more than its interpreter's, but the old command took the program's.
    if (const auto invoked = stack.argument(0); !invoked.empty()) program = invoked;
    if (const auto slash = program.rfind('/'); slash != std::string_view::npos)
      program.remove_prefix(slash + 1);
    if (program.empty()) program = "program";
    name.append(program).append(".ckpt");
  }
  make_absolute(name);
}

inline void load(injected* given) {
  auto& me = state_of_agent;
  me.output.remember();
  if (given != nullptr) given->begin_alone = reinterpret_cast<u64>(&agent_begin_alone);
  const auto stack = initial_stack::find();
  if (!stack.ok()) {
    say("cannot read /proc/self/stat, so this program cannot be checkpointed (is /proc mounted?)");
    return;
  }
  begin_with_defaults(me.config);
  read_variables(*stack);
  take_over([](std::string_view options) { (void)read_options(options); });
  if (given == nullptr)
    read_launch(*stack);
  else
    (void)read_options({reinterpret_cast<const char*>(given->options), given->options_length});
  me.name_of_call.remember_start();
  default_name(*stack);
  make_absolute(me.config.log);
  me.home = sys::getpid();
  open_outside_box();
  forget_on_fork();
  draw_instance();
  if (const int signal = signal_for(me.config.signal, me.config.period_ms); signal != 0) {
    (void)me.trigger.install(signal);
    if (me.config.period_ms != 0) me.period.start(signal, me.config.period_ms);
  }
}

}  // namespace ckpt::agent
