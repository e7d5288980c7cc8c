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
  std::string_view meaning;  // for --help and completions
  std::string_view more;     // for the manual, behind it
};

inline constexpr readckpt_command readckpt_commands[] = {
    {"info", "IMAGE", "what is in it, on one screen (the default)", ""},
    {"segments", "IMAGE", "the program's memory", ""},
    {"fds", "IMAGE", "descriptors, open files, locks", ""},
    {"threads", "IMAGE", "threads, registers, who has called whom",
     "Names and lines come from the files of the program and its libraries while they are of the same "
     "build, otherwise from what the image has of them; what has changed since is said"},
    {"state", "IMAGE", "settings, limits, timers, signal actions", ""},
    {"map", "IMAGE", "its address space as a picture",
     "SVG, or HTML, or text at a terminal. What was program, file, heap, stack has its colour; the "
     "darker a cell, the more of it the image holds"},
    {"diff", "IMAGE OTHER", "what is different in another image",
     "Pages, mappings, descriptors, threads, settings. With --format=svg or html a picture of what is "
     "hot"},
    {"verify", "IMAGE", "check every checksum of the data", ""},
    {"core", "IMAGE [FILE]", "a core file for gdb and others",
     "With all memory and all threads, with holes where there are only zeros. Open it with *gdb* "
     "_PROGRAM_ _FILE_"},
    {"gdb", "IMAGE", "what gdb -p must know once it is restarted",
     "Lines of add-symbol-file for *gdb -p* _PID_ *-x* _FILE_"},
    {"extract", "IMAGE [WHAT [FILE]]", "a segment or a deleted file",
     "_WHAT_ is an address, BEGIN-END, a name, fd:_N_ or object:_N_; without it, a list of what there is"},
    {"cmdline", "IMAGE", "the program's command line, for a shell", ""},
    {"environ", "IMAGE", "its environment", ""},
    {"dump", "IMAGE ADDR[:LEN]", "memory from ADDR (hexadecimal)",
     "256 bytes or LEN, as hexdump -C has them"},
};

struct readckpt_option {
  std::string_view name;      // without dashes
  std::string_view argument;  // empty when it has none; [WHEN] when it need not be there
  std::string_view choices;   // of the argument, for completions
  std::string_view meaning;
  char code;
};

inline constexpr readckpt_option readckpt_options[] = {
    {"json", "", "", "as JSON (docs/READCKPT_JSON.md)", 'j'},
    {"output", "FILE", "", "where core, extract, map, diff write", 'o'},
    {"format", "FORMAT", "svg html text", "of a picture: svg, html or text", 'f'},
    {"color", "[WHEN]", "auto always never", "auto, always or never", 'c'},
    {"no-pager", "", "", "do not start PAGER at a terminal", 'P'},
    {"help", "", "", "this text", 'h'},
    {"version", "", "", "the version of ckpt", 'V'},
};

/// --format=FORMAT, --color[=WHEN], --json.
inline std::string option_form(const readckpt_option& o) {
  std::string form = "--" + std::string(o.name);
  if (o.argument.starts_with('['))
    form += "[=" + std::string(o.argument.substr(1));
  else if (!o.argument.empty())
    form += "=" + std::string(o.argument);
  return form;
}

// A screen has 24 lines.
inline void print_readckpt_help(std::ostream& out) {
  out << "usage: readckpt [OPTION]... [COMMAND] IMAGE (one operand is an image; - is\n"
         "standard input; without one it is myckpt.dat or myckpt)\n";
  const auto row = [&](std::string left, std::string_view right) {
    left.resize(29, ' ');
    out << "  " << left << right << '\n';
  };
  for (const auto& c : readckpt_commands)
    row(std::string(c.name) + " " + std::string(c.operands), c.meaning);
  for (const auto& o : readckpt_options)
    if (o.code != 'V')
      row(o.code == 'h'   ? "--help, --version"
          : o.code == 'o' ? "-o, " + option_form(o)
                          : option_form(o),
          o.code == 'h' ? "this text, the version of ckpt" : o.meaning);
  out << "Exit status: 0; 1 when the image is not good or lacks what was asked for; 2 for\n"
         "wrong usage. More: readckpt(1).\n";
}

}  // namespace ckpt::tools
