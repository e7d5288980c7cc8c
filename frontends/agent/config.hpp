// SPDX-License-Identifier: MIT
//
// What the agent was told: CKPT_* variables of the program's environment and, before them, the
// options of the ckpt command that started it. Read once, when the library is loaded.
#pragma once

#include "ckpt/options/ignored.hpp"
#include "ckpt/options/name_pattern.hpp"
#include "ckpt/options/signal_name.hpp"
#include "ckpt/options/table.hpp"
#include "ckpt/sys/x86_64/cpu_level.hpp"
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
  u64 running = 0;  // one of injected_*, when the program has run before
  u64 done = 0;     // from the agent: 1 when it is in place, or has taken the options
  u64 base = 0, length = 0;  // where the agent lies; from the agent: 0 when it came another way
  u64 kept_signal = 0;  // from the agent: the trigger that the program handles, and keeps
};
inline constexpr u64 injected_options = 1;  // take these, and ask nothing of the environment
inline constexpr u64 injected_where = 2;    // only say where you are
inline constexpr u64 injected_remove = 3;   // give everything back; then the memory goes
/// The field that holds the LD_PRELOAD the user had; absent when there was none.
inline constexpr std::string_view launch_preload = "preload";
/// The field for a name that every other goes before.
inline constexpr std::string_view launch_default_name = "default-name";
/// And for the ckpt-transfer of whoever brings the agent.
inline constexpr std::string_view launch_transfer = "transfer";

/// Where ckpt-transfer is. Not among the rest, which has a place in the file.
struct transfer_places {
  fixed_text<name_capacity> given;   // if somebody has said
  fixed_text<name_capacity> beside;  // the one that was installed with this agent
};
inline constinit transfer_places transfer_of_agent{};

struct config {
  fixed_text<name_capacity> name;  // a pattern, absolute once load() is over
  int signal = sys::abi::sig_tstp;
  bool continues = false;
  bool continues_given = false;
  u32 period_ms = 0;
  bool verbose = false;
  bool quiet = false;  // what is not an error is not said
  bool try_seccomp = false;
  u32 cpu_level = 0;   // which the program was told not to go beyond; 0 for none
  fixed_text<name_capacity> log;
  options::ignored_descriptors ignored;
  fixed_text<32> compress;                // for ckpt-transfer

  /// False when the value means nothing; the default stays.
  bool set(options::id id, std::string_view value) {
    switch (id) {
      case options::id::name: {
        fixed_text<256> why;
        if (!options::may_be_name(value, why)) return false;
        name.clear();
        name.append(value);
        return true;
      }
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
      case options::id::quiet: {
        const auto on = options::parse_switch(value);
        if (on.ok()) quiet = *on;
        return on.ok();
      }
      case options::id::log:
        log.clear();
        log.append(value);
        if (!log.truncated()) return true;
        log.clear();
        return false;
      case options::id::cpu: {
        const u32 level = sys::arch::parse_level(value);
        if (level != 0) cpu_level = level;
        return level != 0;
      }
      case options::id::ignore_fd:
        return ignored.add(value);
      case options::id::compress: {
        const auto how = value.substr(0, value.find(':'));
        if (how != "lz4" && how != "zstd") return false;
        if (how != value && !parse_number(value.substr(how.size() + 1)).ok()) return false;
        compress.clear();
        compress.append(value);
        return !compress.truncated();
      }
      case options::id::transfer: {
        auto& given = transfer_of_agent.given;
        given.clear();
        given.append(value);
        return value.starts_with('/') && !given.truncated();
      }
      case options::id::seccomp:
        try_seccomp = value == "try";
        return try_seccomp;
      default: return true;
    }
  }
};

/// "/directory/" of the process, or nothing when it cannot be told.
template <std::size_t N>
inline std::string_view directory_before(char (&room)[N]) {
  const auto length = sys::getcwd(room, N - 1);  // with the null
  if (!length.ok() || *length < 2 || room[0] != '/') return {};
  u64 end = *length - 1;
  if (end > 1) room[end++] = '/';
  return {room, end};
}

/// An image's name without its scheme; relative to where the program is now.
inline void make_absolute(fixed_text<name_capacity>& name) {
  if (options::goes_elsewhere(name.view())) return;
  const auto given = options::without_scheme(name.view());
  fixed_text<name_capacity> absolute;
  char directory[name_capacity + 1];
  if (!given.starts_with('/')) options::append_literally(absolute, directory_before(directory));
  absolute.append(given);
  name = absolute;
}

/// The file for messages.
inline void make_absolute_log(fixed_text<name_capacity>& log) {
  if (log.empty() || log.view().starts_with('/')) return;
  fixed_text<name_capacity> absolute;
  char directory[name_capacity + 1];
  absolute.append(directory_before(directory)).append(log.view());
  log = absolute;
  if (log.truncated()) log.clear();
}

}  // namespace ckpt::agent
