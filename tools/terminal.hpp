// SPDX-License-Identifier: MIT
//
// What is for people and their terminals only: colour, a pager, a bar that shows how far long work
// is. None of it reaches a file or a pipe unless it was asked for.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <ostream>
#include <string>
#include <string_view>

#include "ckpt/base/types.hpp"

namespace ckpt::tools {

enum class colour_wish { automatic, always, never };

/// Whether output to that descriptor is to be coloured: a terminal that can (TERM), and a user who
/// has not said NO_COLOR (no-color.org).
[[nodiscard]] bool wants_colour(int fd, colour_wish wish);

enum class tint { title, added, removed, changed, faint, alarm };

/// From now on painted() colours what goes to this stream.
void set_coloured(std::ostream& out, bool on);
[[nodiscard]] bool is_coloured(std::ostream& out);
[[nodiscard]] std::string painted(std::ostream& out, tint how, std::string_view text);

/// One of ten steps, as a character and, where there is colour, as a background of that warmth.
[[nodiscard]] std::string heat_cell(std::ostream& out, double share);

/// While it lives, standard output goes through $PAGER when it is a terminal.
class pager {
 public:
  explicit pager(bool wanted);
  pager(const pager&) = delete;
  pager& operator=(const pager&) = delete;
  ~pager() { finish(); }

  /// Waits until the reader has seen enough. Whoever quits early has not made an error.
  void finish();
  [[nodiscard]] bool running() const { return pid_ > 0; }

 private:
  ::pid_t pid_ = -1;
  int terminal_ = -1;
};

/// A bar on standard error, when that is a terminal and the work takes longer than half a second.
class progress {
 public:
  progress(std::string_view what, u64 total);
  progress(const progress&) = delete;
  progress& operator=(const progress&) = delete;
  ~progress();

  void at(u64 done);
  void advance(u64 more) { at(done_ + more); }

 private:
  using clock = std::chrono::steady_clock;

  void draw();

  std::string what_;
  u64 total_;
  u64 done_ = 0;
  bool shown_ = false;
  bool terminal_;
  clock::time_point next_;
};

}  // namespace ckpt::tools
