// SPDX-License-Identifier: MIT
//
// readckpt [COMMAND] IMAGE: shows what is in an image without running anything of it.
#include <getopt.h>
#include <unistd.h>

#include <iostream>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "image_error.hpp"
#include "printable.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::tools;

constexpr int exit_image = 1;
constexpr int exit_usage = 2;

struct request {
  std::string image;
  dump_range range{};
};

struct command {
  std::string_view name;
  std::string_view operands;
  std::string_view help;
  void (*run)(image_file&, const request&, std::ostream&);
  void (*run_json)(const image_file&, std::ostream&);
};

constexpr command commands[] = {
    {"info", "IMAGE", "what is in it, on one screen (the default)",
     [](image_file& i, const request& r, std::ostream& out) { print_info(i, r.image, out); },
     info_json},
    {"segments", "IMAGE", "the program's memory",
     [](image_file& i, const request&, std::ostream& out) { print_segments(i, out); },
     segments_json},
    {"fds", "IMAGE", "descriptors, open files, locks",
     [](image_file& i, const request&, std::ostream& out) { print_descriptors(i, out); },
     descriptors_json},
    {"threads", "IMAGE", "threads and their registers",
     [](image_file& i, const request&, std::ostream& out) { print_threads(i, out); }, threads_json},
    {"state", "IMAGE", "settings, limits, timers, signal actions, pages not to be touched",
     [](image_file& i, const request&, std::ostream& out) { print_state(i, out); }, state_json},
    {"cmdline", "IMAGE", "the program's command line, quoted for a shell",
     [](image_file& i, const request&, std::ostream& out) { print_command_line(i, out); }, nullptr},
    {"environ", "IMAGE", "its environment",
     [](image_file& i, const request&, std::ostream& out) { print_environment(i, out); }, nullptr},
    {"verify", "IMAGE", "check every checksum of the data",
     [](image_file& i, const request& r, std::ostream& out) { verify(i, r.image, out); }, nullptr},
    {"dump", "IMAGE ADDR[:LEN]", "memory from ADDR (hexadecimal) on, 256 bytes or LEN",
     [](image_file& i, const request& r, std::ostream& out) { dump(i, r.range, out); }, nullptr},
};

struct long_option {
  const char* name;
  std::string_view help;
  char code;
};

constexpr long_option options[] = {
    {"json",
     "info, segments, fds, threads, state: everything as JSON (docs/FORMAT.md describes it)", 'j'},
    {"help", "this text", 'h'},
    {"version", "the version of ckpt", 'V'},
};

void print_help(std::ostream& out) {
  out << "Usage: readckpt [--json] [COMMAND] IMAGE\n"
         "Shows what is in an image of ckpt. A single operand is always an image; without one it\n"
         "is myckpt.dat or myckpt.\n\nCommands:\n";
  for (const command& c : commands) {
    std::string left = std::string(c.name) + " " + std::string(c.operands);
    left.resize(24, ' ');
    out << "  " << left << c.help << '\n';
  }
  out << "\nOptions:\n";
  for (const long_option& o : options) {
    std::string left = std::string("--") + o.name;
    left.resize(24, ' ');
    out << "  " << left << o.help << '\n';
  }
  out << "\nFlags of descriptors: r read, w write, a append, n nonblocking, d direct,\n"
         "s synchronous, y asynchronous, p path only, c close on exec.\n"
         "\nExit status: 0, 1 when the image is not good or lacks what was asked for, 2 for "
         "usage.\n";
}

[[nodiscard]] int usage(const std::string& why = {}) {
  if (!why.empty()) std::cerr << "readckpt: " << why << '\n';
  std::cerr << "Usage: readckpt [--json] [COMMAND] IMAGE (readckpt --help says more)\n";
  return exit_usage;
}

const command* command_named(std::string_view name) {
  for (const command& c : commands)
    if (c.name == name) return &c;
  return nullptr;
}

/// The course program's names, for those who call this as it was called there.
std::optional<std::string> image_without_operand(const char* invoked_as) {
  std::string_view name = invoked_as;
  name.remove_prefix(name.rfind('/') + 1);
  if (name != "readckpt") return std::nullopt;
  for (const char* candidate : {"myckpt.dat", "myckpt"})
    if (::access(candidate, F_OK) == 0) return candidate;
  return std::nullopt;
}

int run(int argc, char** argv) {
  std::vector<::option> table;
  for (const long_option& o : options) table.push_back({o.name, no_argument, nullptr, o.code});
  table.push_back({});
  bool as_json = false;
  for (int code = 0; (code = ::getopt_long(argc, argv, "", table.data(), nullptr)) != -1;) {
    switch (code) {
      case 'j':
        as_json = true;
        break;
      case 'h':
        print_help(std::cout);
        return 0;
      case 'V':
        std::cout << "readckpt (ckpt) " CKPT_VERSION "\n";
        return 0;
      default:
        return usage();
    }
  }
  const std::vector<std::string> operands(argv + optind, argv + argc);

  const command* what = &commands[0];
  request asked;
  if (operands.empty()) {
    const auto found = image_without_operand(argc > 0 ? argv[0] : "");
    if (!found) return usage();
    asked.image = *found;
  } else if (operands.size() == 1) {
    asked.image = operands[0];
  } else {
    what = command_named(operands[0]);
    if (what == nullptr) return usage("no command is called " + printable(operands[0]));
    asked.image = operands[1];
    const bool dumps = what->name == "dump";
    if (operands.size() != (dumps ? 3u : 2u))
      return usage(std::string(what->name) + " takes " + std::string(what->operands));
    if (dumps) {
      const auto range = parse_dump_range(operands[2]);
      if (!range.ok())
        return usage(printable(operands[2]) + " is not ADDR[:LEN], as in 7ffd00001000:512");
      asked.range = *range;
    }
  }
  if (as_json && what->run_json == nullptr)
    return usage("--json goes with info, segments, fds, threads and state");

  try {
    image_file image(asked.image);
    if (as_json)
      what->run_json(image, std::cout);
    else
      what->run(image, asked, std::cout);
    return 0;
  } catch (const image_error& e) {
    std::cout.flush();
    std::cerr << "readckpt: " << printable(asked.image) << ": " << e.what() << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "readckpt: " << printable(asked.image) << ": its metadata is larger than memory\n";
  }
  return exit_image;
}

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  const int status = run(argc, argv);
  if (!std::cout.flush()) {
    std::cerr << "readckpt: cannot write the output\n";
    return exit_image;
  }
  return status;
}
