// SPDX-License-Identifier: MIT
//
// Signals by any spelling: SIGUSR2, USR2, usr2, 12, RTMIN+3. Names and numbers are those of
// signal(7) on x86-64; real-time numbers count from glibc's SIGRTMIN, 34, which programs see.
#pragma once

#include "ckpt/base/text.hpp"

namespace ckpt::options {

inline constexpr std::string_view signal_names[] = {
    "",     "HUP",  "INT",  "QUIT", "ILL",  "TRAP",   "ABRT", "BUS",  "FPE",    "KILL", "USR1",
    "SEGV", "USR2", "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP",   "TSTP", "TTIN",
    "TTOU", "URG",  "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO",  "PWR",    "SYS"};
inline constexpr int first_real_time = 34;
inline constexpr int last_real_time = 64;

/// Said of what parse_signal has errc::access for.
inline constexpr std::string_view why_no_trigger =
    "cannot ask for a checkpoint: no program can handle it, or it tells of a fault; choose another one";

/// 0 is "no signal". errc::invalid for what is no signal, errc::access for one that no program can
/// handle or that the kernel raises for faults.
[[nodiscard]] constexpr result<int> parse_signal(std::string_view text) {
  const auto same = [](std::string_view a, std::string_view b) {
    if (a.size() != b.size()) return false;
    for (std::size_t i = 0; i < a.size(); ++i) {
      const char c = a[i] >= 'a' && a[i] <= 'z' ? static_cast<char>(a[i] - 32) : a[i];
      if (c != b[i]) return false;
    }
    return true;
  };
  const auto usable = [](int signal) -> result<int> {
    constexpr u64 unusable = u64{1} << 4 | u64{1} << 5 | u64{1} << 7 | u64{1} << 8 | u64{1} << 9 |
                             u64{1} << 11 | u64{1} << 19;  // ILL TRAP BUS FPE KILL SEGV STOP
    if (signal < 32 && (unusable >> signal & 1) != 0) return errc::access;
    // The C library keeps these to itself.
    if (signal >= 32 && signal < first_real_time) return errc::invalid;
    return signal;
  };
  if (const auto number = parse_number(text); number.ok()) {
    if (*number > last_real_time) return errc::invalid;
    return usable(static_cast<int>(*number));
  }
  if (text.size() > 3 && same(text.substr(0, 3), "SIG")) text.remove_prefix(3);
  for (int i = 1; i < 32; ++i)
    if (same(text, signal_names[i])) return usable(i);
  if (same(text, "POLL")) return 29;
  if (same(text, "CLD")) return 17;
  if (same(text, "IOT")) return 6;
  const bool from_min = text.size() >= 5 && same(text.substr(0, 5), "RTMIN");
  const bool from_max = text.size() >= 5 && same(text.substr(0, 5), "RTMAX");
  if (!from_min && !from_max) return errc::invalid;
  u64 offset = 0;
  if (text.size() > 5) {
    if (text[5] != (from_min ? '+' : '-')) return errc::invalid;
    const auto number = parse_number(text.substr(6));
    if (!number.ok() || *number > last_real_time - first_real_time) return errc::invalid;
    offset = *number;
  }
  return from_min ? first_real_time + static_cast<int>(offset)
                  : last_real_time - static_cast<int>(offset);
}

}  // namespace ckpt::options
