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
#include "transfer_place.hpp"
#include "trigger_watch.hpp"

namespace ckpt::agent {

inline void complain(std::string_view variable, std::string_view value, std::string_view why) {
  fixed_text<1024> line;
  line.append(variable);
  if (value.size() <= 200) line.append('=').append(quoted{value});
  line.append(' ').append(why);
  note(line.view());
}

inline void complain(const options::option& o, std::string_view value) {
  fixed_text<600> why;
  if (o.id == options::id::signal && options::parse_signal(value).error() == errc::access)
    why.append(options::why_no_trigger).append("; it is ignored");
  else if (o.id == options::id::name && !options::may_be_name(value, why))
    why.append(", so it is ignored");
  else
    why.append("means nothing and is ignored (").append(o.meaning).append(')');
  complain(o.variable, value, why.view());
}

/// Which options the command line has given: they win.
struct given_options {
  u64 ids = 0;
  void add(options::id id) { ids |= u64{1} << static_cast<unsigned>(id); }
  void add(given_options others) { ids |= others.ids; }
  [[nodiscard]] bool has(options::id id) const { return (ids >> static_cast<unsigned>(id) & 1) != 0; }
};

/// "once per process tree under an inherited LD_PRELOAD": the value is taken out of what children
/// inherit, by emptying it where it stands.
inline void read_variables(const initial_stack& stack, given_options given) {
  const auto read = [&](bool first) {
    for (const auto& o : options::table) {
      if ((o.readers & options::agent) == 0 || o.variable.empty() || given.has(o.id)) continue;
      // It decides about what is said of the others.
      if ((o.id == options::id::quiet) != first) continue;
      char* value = stack.variable(o.variable);
      if (value == nullptr || *value == '\0') continue;
      if (state_of_agent.config.set(o.id, value)) continue;
      complain(o, value);
      *value = '\0';
    }
  };
  read(true);
  read(false);
  // Before a loader has run, only the command can tell it.
  auto& level = state_of_agent.config.cpu_level;
  if (level != 0 && !given.has(options::id::cpu)) {
    level = 0;
    note("CKPT_CPU has no effect without the ckpt command, which starts the program so; it is ignored");
  }
}

struct command_options {
  std::string_view preload;  // the user's
  bool preload_there = false;
  given_options given;
};

/// The ckpt command's own options.
inline command_options read_options(std::string_view rest) {
  command_options found;
  while (!rest.empty()) {
    const auto end = rest.find(launch_separator);
    const auto field = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos) continue;
    const auto key = field.substr(0, equals);
    const auto value = field.substr(equals + 1);
    if (key == launch_preload) {
      found.preload = value;
      found.preload_there = true;
    }
    if (key == launch_default_name && !found.given.has(options::id::name))
      (void)state_of_agent.config.set(options::id::name, value);
    if (key == launch_transfer) {
      auto& place = transfer_of_agent.beside;
      place.clear();
      place.append(value);
    }
    for (const auto& o : options::table)
      if ((o.long_name.empty() ? o.variable : o.long_name) == key && state_of_agent.config.set(o.id, value)) found.given.add(o.id);
  }
  return found;
}

/// Reads the command's options and takes its traces away, so that the program and its children see
/// the environment the user had, /proc/self/environ included where the kernel lets its end be moved.
inline given_options read_launch(const initial_stack& stack) {
  char* launch = stack.variable(launch_variable);
  if (launch == nullptr) return {};
  const auto found = read_options(launch);
  const auto end_of_launch = reinterpret_cast<u64>(launch) + std::string_view(launch).size() + 1;
  const range own{reinterpret_cast<u64>(launch) - launch_variable.size() - 1, end_of_launch};
  range preload{};
  if (char* now = stack.variable("LD_PRELOAD"); now != nullptr) {
    const auto length = std::string_view(now).size();
    if (found.preload_there && found.preload.size() <= length) {
      // Ours stood before the user's, so the user's fits; unless somebody else wrote both.
      std::memcpy(now, found.preload.data(), found.preload.size());
      std::memset(now + found.preload.size(), 0, length - found.preload.size());
    } else {
      constexpr std::string_view name = "LD_PRELOAD=";
      preload = {reinterpret_cast<u64>(now) - name.size(), reinterpret_cast<u64>(now) + length + 1};
      stack.remove("LD_PRELOAD");
      std::memset(reinterpret_cast<char*>(preload.begin), 0, preload.length());
    }
  }
  stack.remove(launch_variable);
  std::memset(reinterpret_cast<char*>(own.begin), 0, own.length());
  cut_environment(own, preload);
  return found.given;
}

inline void default_name(const initial_stack& stack) {
  auto& name = state_of_agent.config.name;
  if (name.empty()) {
    char link[name_capacity];
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self/exe", link, sizeof link);
    std::string_view program = size.ok() ? std::string_view(link, *size) : stack.argument(0);
    // A script's name says more than its interpreter's, but the old command took the program's.
    if (const auto invoked = stack.argument(0); !invoked.empty()) program = invoked;
    program = options::base_of(program);
    if (program.empty()) program = "program";
    options::append_literally(name, program);
    name.append(".ckpt");
  }
  make_absolute(name);
}

/// A program that runs already and handles the signal itself keeps it, unless the user has named it.
// Context: library load, or all threads held
inline bool keeps_signal(int signal, given_options options, injected& given) {
  sys::abi::kernel_sigaction now{};
  if (options.has(options::id::signal) || !sys::rt_sigaction(signal, nullptr, &now).ok())
    return false;
  if (now.handler == sys::abi::sig_dfl || now.handler == sys::abi::sig_ign ||
      now.handler == reinterpret_cast<u64>(&trigger_entry))
    return false;
  given.kept_signal = static_cast<u64>(signal);
  return true;
}

/// Other options for an agent that is there. What they do not mention stays.
// Context: all threads held, none of them in the agent
inline void configure_from_outside(injected& given) {
  auto& me = state_of_agent;
  given.base = me.memory.begin;
  given.length = me.memory.length();
  if (given.running == injected_remove) {
    if (me.period.timer() >= 0) (void)sys::timer_delete(me.period.timer());
    (void)me.trigger.move_to(0);
    retire_outside_box();
  }
  given.done = given.running == injected_options ? 0 : 1;
  if (given.done != 0) return;
  const int signal_before = me.config.signal;
  const u32 period_before = me.config.period_ms;
  const auto options =
      read_options({reinterpret_cast<const char*>(given.options), given.options_length}).given;
  const bool new_period = options.has(options::id::period);
  if (new_period || options.has(options::id::signal)) {
    const int needed = signal_for(me.config.signal, me.config.period_ms);
    const bool moves = needed != me.trigger.number();
    if (moves || new_period) me.period.hold();
    if (!me.trigger.move_to(needed).ok()) {
      me.period.go_on();
      me.config.signal = signal_before;
      me.config.period_ms = period_before;
      return;
    }
    if (moves || new_period) me.period.change(needed, me.config.period_ms, new_period);
  }
  given.done = 1;
}

/// As far as every way in goes.
// Context: library load
inline void take_place() {
  auto& me = state_of_agent;
  make_absolute_log(me.config.log);
  me.home = sys::getpid();
  open_outside_box();
  forget_on_fork();
  draw_instance();
  find_transfer();
}

/// The program has run before: its first stack and environment are its own by now, and everything that
/// there is to know comes with `given`.
// Context: all threads held
inline void load_into_running(injected& given) {
  auto& me = state_of_agent;
  me.output.remember();
  begin_with_defaults(me.config);
  const auto options =
      read_options({reinterpret_cast<const char*>(given.options), given.options_length}).given;
  me.name_of_call.remember_start();
  me.memory = {given.base, given.base + given.length};
  take_place();
  given.done = 1;
  const int signal = signal_for(me.config.signal, me.config.period_ms);
  if (signal == 0 || keeps_signal(signal, options, given)) return;
  (void)me.trigger.install(signal);
  if (me.config.period_ms != 0) me.period.start(signal, me.config.period_ms);
}

[[gnu::cold]] inline void load(injected* given) {
  if (given != nullptr && given->running != 0) return load_into_running(*given);
  auto& me = state_of_agent;
  me.output.remember();
  if (given != nullptr) given->begin_alone = reinterpret_cast<u64>(&agent_begin_alone);
  const auto stack = initial_stack::find();
  if (!stack.ok()) {
    say("cannot read /proc/self/stat, so this program cannot be checkpointed (is /proc mounted?)");
    return;
  }
  begin_with_defaults(me.config);
  // The variables are those of a user whom the program has more rights than.
  if (stack->auxiliary(sys::abi::at_secure) != 0) {
    me.privileged = true;
    default_name(*stack);
    return take_place();
  }
  given_options options;
  take_over([&](std::string_view text) { options.add(read_options(text).given); });
  options.add(given == nullptr ? read_launch(*stack)
                               : read_options({reinterpret_cast<const char*>(given->options),
                                               given->options_length})
                                     .given);
  read_variables(*stack, options);
  me.name_of_call.remember_start();
  default_name(*stack);
  take_place();
  tell_trigger_at_load();
  if (const int signal = signal_for(me.config.signal, me.config.period_ms); signal != 0) {
    (void)me.trigger.install(signal);
    if (me.config.period_ms != 0) me.period.start(signal, me.config.period_ms);
  }
}

}  // namespace ckpt::agent
