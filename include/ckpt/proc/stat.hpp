// SPDX-License-Identifier: MIT
//
// /proc/PID/stat: where the program's code, data, stack, arguments and environment lie, and who it
// is. One line of numbers, with the program's name in parentheses near the front.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/proc/cursor.hpp"

namespace ckpt::proc {

/// In `flags`: the task is on its way out (PF_EXITING).
inline constexpr u32 task_exiting = 0x4;

/// Numbered as in proc(5).
struct stat_fields {
  int pid = 0;            // 1
  std::string_view comm;  // 2, a view into the text, unescaped
  char state = 0;         // 3
  int ppid = 0;           // 4
  int pgrp = 0;           // 5
  int session = 0;        // 6
  int tty_nr = 0;         // 7
  int tpgid = 0;          // 8
  u32 flags = 0;          // 9, PF_* of the kernel's include/linux/sched.h
  u64 utime = 0;          // 14, clock ticks
  u64 stime = 0;          // 15
  i64 nice = 0;           // 19
  u32 num_threads = 0;    // 20
  u64 starttime = 0;      // 22, clock ticks since boot
  u64 start_code = 0;     // 26
  u64 end_code = 0;       // 27
  u64 start_stack = 0;    // 28
  u64 start_data = 0;     // 45
  u64 end_data = 0;       // 46
  u64 start_brk = 0;      // 47
  u64 arg_start = 0;      // 48
  u64 arg_end = 0;        // 49
  u64 env_start = 0;      // 50
  u64 env_end = 0;        // 51
  int exit_code = 0;      // 52
};

/// The whole text, its newline included. The name may hold blanks, newlines and parentheses, so it
/// ends at the last ')' of the text: only numbers follow. Fields that later kernels append are
/// passed over.
/// Context: any, no libc.
[[nodiscard]] constexpr result<stat_fields> parse_stat(std::string_view text) {
  if (!text.ends_with('\n')) return errc::end_of_input;
  const std::size_t name_end = text.rfind(')');
  if (name_end == std::string_view::npos) return errc::malformed;

  stat_fields f;
  // Not substr: it throws, and where the compiler cannot see that it will not, it needs libstdc++.
  cursor front(std::string_view(text.data(), name_end));
  f.pid = front.number<int>();
  front.expect(" (");
  if (front.failed()) return errc::malformed;
  f.comm = front.rest();

  text.remove_prefix(name_end + 1);
  text.remove_suffix(1);
  cursor c(text);
  const std::string_view state = c.word();
  if (state.size() != 1) return errc::malformed;
  f.state = state[0];
  f.ppid = c.number<int>();
  f.pgrp = c.number<int>();
  f.session = c.number<int>();
  f.tty_nr = c.number<int>();
  f.tpgid = c.number<int>();
  f.flags = c.number<u32>();
  c.skip_words(4);  // minflt, cminflt, majflt, cmajflt
  f.utime = c.number<u64>();
  f.stime = c.number<u64>();
  c.skip_words(3);  // cutime, cstime, priority
  f.nice = c.number<i64>();
  f.num_threads = c.number<u32>();
  c.skip_words(1);  // itrealvalue
  f.starttime = c.number<u64>();
  c.skip_words(3);  // vsize, rss, rsslim
  f.start_code = c.number<u64>();
  f.end_code = c.number<u64>();
  f.start_stack = c.number<u64>();
  c.skip_words(16);  // kstkesp ... cguest_time
  f.start_data = c.number<u64>();
  f.end_data = c.number<u64>();
  f.start_brk = c.number<u64>();
  f.arg_start = c.number<u64>();
  f.arg_end = c.number<u64>();
  f.env_start = c.number<u64>();
  f.env_end = c.number<u64>();
  f.exit_code = c.number<int>();
  if (c.failed() || !c.at_word_end()) return errc::malformed;
  for (const char later : c.rest())
    if (later == '\n') return errc::malformed;
  return f;
}

}  // namespace ckpt::proc
