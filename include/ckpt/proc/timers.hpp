// SPDX-License-Identifier: MIT
//
// /proc/PID/timers: the POSIX timers of a process, for what no call tells of them: which ids there
// are, which clock, and whom they notify.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/proc/cursor.hpp"

namespace ckpt::proc {

struct posix_timer {
  i32 id = 0;
  i32 signal = 0;
  u64 value = 0;        // sigev_value
  i32 notify = 0;       // SIGEV_* without SIGEV_THREAD_ID
  bool thread = false;  // SIGEV_THREAD_ID: the signal goes to that thread
  i32 target = 0;       // the thread or the process, as the reader's PID namespace numbers it
  i32 clock = 0;        // clockid_t; negative for the clocks of a process or a thread
  constexpr bool operator==(const posix_timer&) const = default;
};

/// Takes one timer's lines off the front of text. Lines that a later kernel adds are passed over.
/// errc::end_of_input when the text is empty.
/// Context: any, no libc.
[[nodiscard]] constexpr result<posix_timer> take_posix_timer(std::string_view& text) {
  posix_timer t;
  cursor first(CKPT_TRY(take_line(text)));
  first.expect("ID: ");
  t.id = first.number<i32>();
  if (first.failed() || !first.at_end()) return errc::malformed;
  bool has_signal = false, has_notify = false, has_clock = false;
  while (!text.empty() && !text.starts_with("ID: ")) {
    cursor at(CKPT_TRY(take_line(text)));
    if (at.accept("signal: ")) {
      t.signal = at.number<i32>();
      at.expect("/");
      t.value = at.number<u64>(16);
      has_signal = true;
    } else if (at.accept("notify: ")) {
      if (at.accept("signal/"))
        t.notify = 0;
      else if (at.accept("none/"))
        t.notify = 1;
      else if (at.accept("thread/"))
        t.notify = 2;
      else
        return errc::malformed;
      t.thread = at.accept("tid.");
      if (!t.thread) at.expect("pid.");
      t.target = at.number<i32>();
      has_notify = true;
    } else if (at.accept("ClockID: ")) {
      t.clock = at.number<i32>();
      has_clock = true;
    } else {
      continue;
    }
    if (at.failed() || !at.at_end()) return errc::malformed;
  }
  if (!has_signal || !has_notify || !has_clock) return errc::malformed;
  return t;
}

}  // namespace ckpt::proc
