// SPDX-License-Identifier: MIT
//
// The words of readckpt's command line, once: for its --help, its manual page and the completions.
#pragma once

#include <ostream>
#include <string>
#include <string_view>

namespace ckpt::tools {

struct readckpt_command {
  std::string_view name;
  std::string_view operands;
  std::string_view meaning;
};

inline constexpr readckpt_command readckpt_commands[] = {
    {"info", "IMAGE", "what is in it, on one screen (the default)"},
    {"segments", "IMAGE", "the program's memory"},
    {"fds", "IMAGE", "descriptors, open files, locks"},
    {"threads", "IMAGE", "threads and their registers"},
    {"state", "IMAGE", "settings, limits, timers, signal actions"},
    {"cmdline", "IMAGE", "the program's command line, for a shell"},
    {"environ", "IMAGE", "its environment"},
    {"verify", "IMAGE", "check every checksum of the data"},
    {"dump", "IMAGE ADDR[:LEN]", "memory from ADDR (hexadecimal), 256 bytes or LEN"},
};

struct readckpt_option {
  std::string_view name;  // without dashes
  std::string_view meaning;
  char code;
};

inline constexpr readckpt_option readckpt_options[] = {
    {"json", "info, segments, fds, threads, state: all as JSON", 'j'},
    {"help", "this text", 'h'},
    {"version", "the version of ckpt", 'V'},
};

inline void print_readckpt_help(std::ostream& out) {
  out << "usage: readckpt [--json] [COMMAND] IMAGE\n"
         "Shows what is in an image of ckpt. A single operand is an image; without one it\n"
         "is myckpt.dat or myckpt.\n\n";
  const auto row = [&](std::string left, std::string_view right) {
    left.resize(24, ' ');
    out << "  " << left << right << '\n';
  };
  for (const auto& c : readckpt_commands)
    row(std::string(c.name) + " " + std::string(c.operands), c.meaning);
  out << '\n';
  for (const auto& o : readckpt_options) row("--" + std::string(o.name), o.meaning);
  out << "\nFlags of descriptors: r read, w write, a append, n nonblocking, d direct,\n"
         "s synchronous, y asynchronous, p path only, c close on exec.\n"
         "Exit status: 0; 1 when the image is not good or lacks what was asked for; 2 for\n"
         "wrong usage. More: readckpt(1).\n";
}

}  // namespace ckpt::tools
