// SPDX-License-Identifier: MIT
//
// /proc/PID/status, for what no other file or call tells: the umask without changing it, who
// traces, seccomp before the first call that a filter might kill for, and the process's number in
// its own PID namespace.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/proc/cursor.hpp"

namespace ckpt::proc {

/// The value of one line. Names are escaped in this file, so no name can forge a line.
/// Context: any, no libc.
[[nodiscard]] constexpr result<std::string_view> status_field(std::string_view text,
                                                              std::string_view key) {
  return line_of(text, key);
}

[[nodiscard]] constexpr result<u32> status_umask(std::string_view text) {
  return number_of<u32>(text, "Umask", 8);
}
/// The process's number for whoever reads this /proc.
[[nodiscard]] constexpr result<int> status_process(std::string_view text) {
  return number_of<int>(text, "Tgid");
}
/// 0: nobody.
[[nodiscard]] constexpr result<int> status_tracer(std::string_view text) {
  return number_of<int>(text, "TracerPid");
}
/// 0 none, 1 strict, 2 filter; errc::not_found where the kernel has no seccomp.
[[nodiscard]] constexpr result<u32> status_seccomp(std::string_view text) {
  return number_of<u32>(text, "Seccomp");
}
[[nodiscard]] constexpr result<u32> status_threads(std::string_view text) {
  return number_of<u32>(text, "Threads");
}
/// Signal sets: bit n - 1 is signal n, as in the kernel's sigset_t.
[[nodiscard]] constexpr result<u64> status_pending(std::string_view text) {
  return number_of<u64>(text, "SigPnd", 16);
}
[[nodiscard]] constexpr result<u64> status_shared_pending(std::string_view text) {
  return number_of<u64>(text, "ShdPnd", 16);
}
[[nodiscard]] constexpr result<u64> status_blocked(std::string_view text) {
  return number_of<u64>(text, "SigBlk", 16);
}
[[nodiscard]] constexpr result<u64> status_ignored(std::string_view text) {
  return number_of<u64>(text, "SigIgn", 16);
}
[[nodiscard]] constexpr result<u64> status_caught(std::string_view text) {
  return number_of<u64>(text, "SigCgt", 16);
}

/// The number that the process itself sees: the last of NSpid, which lists one per namespace from
/// the reader's inwards.
[[nodiscard]] constexpr result<int> status_innermost_pid(std::string_view text) {
  const result<std::string_view> line = line_of(text, "NSpid");
  if (!line.ok()) return line.error();
  cursor at(*line);
  int pid = 0;
  do {
    pid = at.number<int>();
    at.skip_blanks();
  } while (!at.at_end());
  if (at.failed()) return errc::malformed;
  return pid;
}

}  // namespace ckpt::proc
