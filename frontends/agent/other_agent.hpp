// SPDX-License-Identifier: MIT
//
// Two agents in one program: the library was preloaded into a program that has the archive in it, or
// a second copy was opened. The last one to come is the one that the program's own calls reach, so it
// takes over: the other's trigger and clock go, its options stay.
//
// They find each other by the handler of a signal. The 16 bytes before trigger_entry are, in every
// version: how far agent_retire is from there, and a mark.
#pragma once

#include <cstring>

#include "agent_state.hpp"
#include "outside.hpp"

extern "C" [[gnu::visibility("hidden")]] ckpt::u64 agent_retire(char* room, ckpt::u64 size);

namespace ckpt::agent {

struct agent_mark {
  i64 retire;  // from the mark
  char text[8];
};
inline constexpr std::string_view agent_mark_text = "ckptagt1";

/// Whether 8 bytes can be read: a call that looks at its set before it looks at what to do with it.
// Context: library load
inline bool readable(u64 address) {
  constexpr int nothing = 99;
  return sys::rt_sigprocmask(nothing, reinterpret_cast<const u64*>(address), nullptr).error() ==
         errc::invalid;
}

/// The mark before a signal's handler, when it is another agent's.
// Context: library load
inline const agent_mark* mark_of(u64 handler) {
  if (handler < page_size || handler % sizeof(agent_mark) != 0 ||
      handler == reinterpret_cast<u64>(&trigger_entry))
    return nullptr;
  const u64 at = handler - sizeof(agent_mark);
  if (!readable(at)) return nullptr;
  const auto* mark = reinterpret_cast<const agent_mark*>(at);
  return std::memcmp(mark->text, agent_mark_text.data(), sizeof mark->text) == 0 ? mark : nullptr;
}

/// Stops the clock and writes the options as the launch variable has them (config.hpp), which any
/// version reads; 0 when they do not fit.
// Context: library load, of the agent that takes over
[[gnu::cold]] inline u64 retire(char* room, u64 size) {
  auto& me = state_of_agent;
  if (me.period.timer() >= 0) (void)sys::timer_delete(me.period.timer());
  retire_outside_box();
  fixed_text<2 * name_capacity + 256> text;
  const auto add = [&](options::id id, const auto& value) {
    for (const auto& o : options::table)
      if (o.id == id && !o.long_name.empty())
        text.append(o.long_name).append('=').append(value).append(launch_separator);
  };
  const config& c = me.config;
  add(options::id::name, c.name.view());
  add(options::id::signal, static_cast<u64>(c.signal));
  add(options::id::period, u64{c.period_ms});
  if (c.continues_given) add(options::id::continues, u64{c.continues ? 1u : 0u});
  if (c.verbose) add(options::id::verbose, u64{1});
  if (c.quiet) add(options::id::quiet, u64{1});
  constexpr std::string_view levels[] = {"v2", "v3", "v4"};
  if (c.cpu_level != 0) add(options::id::cpu, levels[c.cpu_level - 2]);
  const auto view = text.view();
  if (text.truncated() || view.size() > size) return 0;
  std::memcpy(room, view.data(), view.size());
  return view.size();
}

/// Calls take(options) with what an agent that was here before was told, and takes its trigger away.
// Context: library load
template <class Take>
inline void take_over(Take&& take) {
  bool found = false;
  for (int signal = 1; signal <= options::last_real_time; ++signal) {
    sys::abi::kernel_sigaction action{};
    if (!sys::rt_sigaction(signal, nullptr, &action).ok()) continue;
    const agent_mark* mark = mark_of(action.handler);
    if (mark == nullptr) continue;
    if (!found) {
      char room[2 * name_capacity + 256];
      const auto other = reinterpret_cast<decltype(&agent_retire)>(
          reinterpret_cast<u64>(mark) + static_cast<u64>(mark->retire));
      const u64 size = other(room, sizeof room);
      if (size <= sizeof room) take(std::string_view(room, size));
    }
    found = true;
    const sys::abi::kernel_sigaction none{};
    (void)sys::rt_sigaction(signal, &none, nullptr);
  }
}

}  // namespace ckpt::agent
