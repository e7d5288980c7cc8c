// SPDX-License-Identifier: MIT
//
// The image of a job: whether it is whole, whether it is of this command line, and what becomes of it
// in the end.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "ckpt/format/header.hpp"

namespace ckpt::command {

/// A command line as the program that runs sees it, interpreters of scripts followed.
struct seen_command {
  std::string program;             // the file that runs, without symbolic links
  std::vector<std::string> words;  // its arguments
  std::size_t script = 0;          // which of them names a script; 0: none does
};
[[nodiscard]] seen_command seen_by_program(char** command_line);

enum class image_state {
  absent,
  good,
  bad,         // torn, or of no use on this machine
  other,       // of another program or other arguments
  unreadable,  // nobody knows
  interrupted,
};

struct image_look {
  image_state state = image_state::absent;
  std::string why;  // a line's part, unless good or absent
  format::file_header header{};
  i64 made_ns = 0;  // CLOCK_REALTIME of its checkpoint
  bool ended_program = false;
};
/// Reads all of it, unless `stop` says that somebody will not wait for that.
[[nodiscard]] image_look look_at_image(const std::string& path, const seen_command& wanted,
                                       const std::function<bool()>& stop);
/// Whether the image is another one than that with this header, and its checkpoint ended the program.
[[nodiscard]] bool ended_by_new_image(const std::string& path, const format::file_header& before);

/// The same of one of which only what comes before the data is there, and that is no older.
[[nodiscard]] bool ended_by_new_head(int fd, const format::file_header& before, i64 since_ns);
/// Of what is there, if anything is.
[[nodiscard]] format::file_header header_of(const std::string& path);

/// Renames it to PATH.bad, or PATH.bad.1 and so on: what is there already stays. The new name; empty,
/// with errno, when that cannot be done.
[[nodiscard]] std::string set_aside(const std::string& path);

/// A name in a line.
[[nodiscard]] std::string shown(const std::string& name);

}  // namespace ckpt::command
