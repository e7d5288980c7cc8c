// SPDX-License-Identifier: MIT
//
// What the agent was told: CKPT_* variables of the program's environment and, before them, the
// options of the ckpt command that started it. Read once, when the library is loaded.
#pragma once

#include "ckpt/options/ignored.hpp"
#include "ckpt/options/signal_name.hpp"
#include "ckpt/options/table.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

inline constexpr u64 name_capacity = 4096;

/// How the ckpt command hands its options on: one variable of fields LONG-NAME=VALUE, separated by
/// a unit separator (ASCII 31), which the agent takes out of the environment again.
inline constexpr std::string_view launch_variable = "_CKPT_LAUNCH";
inline constexpr char launch_separator = '\x1f';
/// Who maps the agent by hand (frontends/hijack) calls its constructor with this in place of argc, and
/// with an `injected` in place of argv: then nothing of ckpt is in the program's environment. Loaders
/// pass argc, or whatever the register happens to hold, never this.
inline constexpr u64 injected_mark = 0xc4b7'1a6e'93d2'5f08;
struct injected {
  u64 options = 0;  // address of text like the launch variable's
  u64 options_length = 0;
  u64 begin_alone = 0;  // from the agent: where agent_begin_alone is (agent.S)
};
/// The field that holds the LD_PRELOAD the user had; absent when there was none.
inline constexpr std::string_view launch_preload = "preload";

/// FILE and file://FILE are names of files; what other schemes mean, this version does not know.
[[nodiscard]] constexpr bool has_other_scheme(std::string_view name) {
  const auto colon = name.find("://");
  if (colon == std::string_view::npos || name.starts_with("file://")) return false;
  for (std::size_t i = 0; i < colon; ++i)
    if (name[i] < 'a' || name[i] > 'z') return false;
  return colon > 0;
}

struct config {
  fixed_text<name_capacity> name;  // absolute
  int signal = sys::abi::sig_tstp;
  bool continues = false;
  bool continues_given = false;
  u32 period_ms = 0;
  bool verbose = false;
  bool try_seccomp = false;
  fixed_text<name_capacity> log;
  options::ignored_descriptors ignored;

  /// False when the value means nothing; the default stays.
  bool set(options::id id, std::string_view value) {
    switch (id) {
      case options::id::name:
        if (value.empty() || value.size() > 1023 || has_other_scheme(value)) return false;
        name.clear();
        name.append(value);
        return true;
      case options::id::signal: {
        const auto parsed = options::parse_signal(value);
        if (parsed.ok()) signal = *parsed;
        return parsed.ok();
      }
      case options::id::continues: {
        const auto on = options::parse_switch(value);
        if (on.ok()) continues = *on;
        continues_given = continues_given || on.ok();
        return on.ok();
      }
      case options::id::period: {
        const auto ms = parse_number(value);
        if (!ms.ok() || *ms > 0xffffffff) return false;
        period_ms = static_cast<u32>(*ms);
        return true;
      }
      case options::id::verbose: {
        const auto on = options::parse_switch(value);
        if (on.ok()) verbose = *on;
        return on.ok();
      }
      case options::id::log:
        log.clear();
        log.append(value);
        return !log.truncated();
      case options::id::ignore_fd:
        return ignored.add(value);
      case options::id::seccomp:
        try_seccomp = value == "try";
        return try_seccomp;
      default: return true;
    }
  }
};

/// An image's name without its scheme; relative to where the program is now.
inline void make_absolute(fixed_text<name_capacity>& name) {
  std::string_view given = name.view();
  if (given.starts_with("file://")) given.remove_prefix(7);
  fixed_text<name_capacity> absolute;
  if (!given.starts_with('/')) {
    char directory[name_capacity];
    const auto length = sys::getcwd(directory, sizeof directory);
    if (length.ok() && *length > 1 && directory[0] == '/') {
      absolute.append(std::string_view(directory, *length - 1));
      if (*length > 2) absolute.append('/');
    }
  }
  absolute.append(given);
  name = absolute;
}

}  // namespace ckpt::agent
