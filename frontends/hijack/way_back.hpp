// SPDX-License-Identifier: MIT
//
// The way back of a borrowed thread that needs nobody: it stands before instructions of the program's
// own that lead to a signal's frame with all that it had. So whoever borrows it may die at any moment.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstddef>
#include <string>
#include <vector>

#include "other_process.hpp"
#include "tracee.hpp"

namespace ckpt::hijack {

/// `syscall`, and what follows it up to a return; and a return from a signal. Both are in the code of
/// nearly every program.
struct code_places {
  u64 call = 0;      // `syscall; …; ret`
  u64 pad = 0;       // what that takes from the stack before it returns
  u64 back = 0;      // `mov $15, %eax; syscall`
  u64 back_call = 0; // the `syscall` of it
  [[nodiscard]] bool complete() const { return call != 0 && back != 0; }
};

[[nodiscard]] code_places find_code_places(pid_t tid, const std::vector<code_mapping>& code);

/// The place of the frame on the main stack, 0 when there is none. All threads are held; `maps` is what
/// /proc says of them now.
[[nodiscard]] u64 place_for_frame(pid_t pid, pid_t borrowed, const std::string& maps,
                                  const code_places& places);

/// Where a borrowed thread is that comes back by itself, because who had borrowed it was killed.
struct ways_back {
  range frame;                // on the main stack
  range back;                 // the return from a signal
  std::vector<range> agents;  // code that he has called
  [[nodiscard]] bool has(const sys::abi::user_regs& r) const;
};
[[nodiscard]] ways_back ways_back_in(const std::string& maps, const code_places& places,
                                     std::vector<range> agents);

/// What a frame restores ends with these bytes: a word, the return address, the frame's head.
inline constexpr u64 frame_tail_size = 448;
inline constexpr u64 frame_return_word = 8;

/// A thread that stands still at a signal's place in the kernel, and again at the end: there an
/// interrupted call is made again, or ended by a handler, as the kernel would have done it.
class visit {
 public:
  /// Without a frame (`frame_at` 0) the thread needs its tracer to come back.
  visit(tracee& t, const code_places& places, u64 frame_at)
      : t_(t), places_(places), frame_at_(frame_at) {}
  visit(const visit&) = delete;
  visit& operator=(const visit&) = delete;
  ~visit() { (void)end(); }

  result<void> begin();
  /// The mask first, the registers last: each state between goes on by itself.
  result<void> end();

  [[nodiscard]] const registers& base() const { return base_; }
  [[nodiscard]] const registers& stood() const { return stood_; }
  [[nodiscard]] bool safe() const { return frame_at_ != 0; }
  /// What is restored, to be laid at the end of another stack.
  [[nodiscard]] const std::array<std::byte, frame_tail_size>& tail() const { return tail_; }

 private:
  result<void> lay_frame();
  void begin_anew(registers& r) const;
  result<void> to_signals_place();

  tracee& t_;
  code_places places_;
  u64 frame_at_;
  registers stood_{}, base_{};
  u64 mask_ = 0;
  bool begun_ = false;
  vector_state vectors_;
  std::vector<std::byte> before_;
  std::array<std::byte, frame_tail_size> tail_{};
};

}  // namespace ckpt::hijack
