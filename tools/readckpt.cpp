// SPDX-License-Identifier: MIT
//
// readckpt [COMMAND] IMAGE: shows what is in an image without running anything of it.
#include <getopt.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include "commands.hpp"
#include "image_error.hpp"
#include "printable.hpp"
#include "readckpt_words.hpp"
#include "terminal.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::tools;

constexpr int exit_image = 1;
constexpr int exit_usage = 2;

/// What becomes of standard output.
enum class output_kind {
  text,      // for people: coloured and paged at a terminal
  binary,    // never to a terminal
  picture,   // a file, or text
};

using printer = void (*)(image_file&, const request&, std::ostream&);

struct action {
  std::string_view name;
  std::size_t most_operands;  // behind the image
  output_kind kind;
  printer run;
  printer run_json;
};

dump_range range_of(const request& asked) {
  return *parse_dump_range(asked.operands.at(1));
}

void compare_operands(image_file& image, const request& asked, std::ostream& out) {
  std::optional<image_file> other;
  try {
    other.emplace(asked.operands.at(1));
  } catch (const image_error& e) {
    throw named_error(asked.operands[1], e.what());
  }
  compare(image, *other, asked, out);
}

constexpr auto core = [](image_file& i, const request& r, std::ostream&) { write_core(i, r); };

constexpr action actions[] = {
    {"info", 0, output_kind::text,
     [](image_file& i, const request& r, std::ostream& out) { print_info(i, r.image(), out); },
     info_json},
    {"segments", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_segments(i, out); },
     segments_json},
    {"fds", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_descriptors(i, out); },
     descriptors_json},
    {"threads", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_threads_at_length(i, out); },
     threads_json},
    {"state", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_state(i, out); }, state_json},
    {"map", 0, output_kind::picture, draw_map, draw_map},
    {"diff", 1, output_kind::picture, compare_operands, compare_operands},
    {"verify", 0, output_kind::text, verify, verify},
    {"core", 1, output_kind::binary, core, core},
    {"gdb", 0, output_kind::text, print_gdb, print_gdb},
    {"extract", 2, output_kind::binary, extract, extract},
    {"cmdline", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_command_line(i, out); },
     words_json},
    {"environ", 0, output_kind::text,
     [](image_file& i, const request&, std::ostream& out) { print_environment(i, out); },
     words_json},
    {"dump", 1, output_kind::text,
     [](image_file& i, const request& r, std::ostream& out) { dump(i, range_of(r), out); },
     [](image_file& i, const request& r, std::ostream& out) {
       dump_json(i, range_of(r), r, out);
     }},
};
static_assert(std::size(actions) == std::size(readckpt_commands));

[[nodiscard]] int usage(const std::string& why = {}) {
  if (!why.empty()) std::cerr << "readckpt: " << why << '\n';
  std::cerr << "usage: readckpt [OPTION]... [COMMAND] IMAGE (readckpt --help says more)\n";
  return exit_usage;
}

const action* action_named(std::string_view name) {
  const auto found = std::ranges::find(actions, name, &action::name);
  return found == std::end(actions) ? nullptr : &*found;
}

std::string_view operands_of(std::string_view command) {
  return std::ranges::find(readckpt_commands, command, &readckpt_command::name)->operands;
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

struct options {
  bool json = false;
  bool paged = true;
  colour_wish colour = colour_wish::automatic;
  std::string output;
  std::string format;
};

/// Whether the named file is one of those that are read.
bool is_an_input(const std::string& output, const request& asked) {
  struct ::stat a {}, b {};
  if (output.empty() || ::stat(output.c_str(), &a) != 0) return false;
  for (std::size_t i = 0; i < (asked.command == "diff" ? 2u : 1u); ++i)
    if (::stat(asked.operands[i].c_str(), &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
      return true;
  return false;
}

struct wrong_usage {
  std::string why;
};
[[noreturn]] void refuse(const std::string& why) {
  throw wrong_usage{why};
}

/// What the command line asks for beyond its grammar; throws when it does not go together.
void settle(request& asked, const action& what, const options& wanted) {
  const std::string name(what.name);
  asked.json = wanted.json;
  asked.output = wanted.output;
  asked.format = wanted.format;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (what.kind == output_kind::text && !wanted.output.empty())
    refuse("--output goes with core, extract, map and diff");
  if (what.kind != output_kind::picture && !wanted.format.empty())
    refuse("--format goes with map and diff");
  if (what.kind == output_kind::binary) {
    const std::size_t file = what.most_operands;
    if (asked.operands.size() > file) {
      if (!asked.output.empty()) refuse("the output file is named twice");
      asked.output = asked.operands[file];
      asked.operands.resize(file);
    }
    const bool lists = what.name == "extract" && asked.operands.size() < 2;
    if (lists && !asked.output.empty()) refuse("extract needs to know what: IMAGE WHAT FILE");
    const bool nameless = asked.output.empty() || asked.output == "-";
    if (!lists && nameless && asked.json)
      refuse("with --json, " + name + " needs a file to write to");
    if (!lists && nameless && terminal)
      refuse(name + " does not write to a terminal: name a file, or -o FILE");
  }
  if (what.kind == output_kind::picture) {
    const auto ends = [&](std::string_view with) { return asked.output.ends_with(with); };
    const bool named = !asked.output.empty() && asked.output != "-";
    if (asked.format.empty() && (ends(".html") || ends(".htm"))) asked.format = "html";
    if (asked.format.empty() && (named || (what.name == "map" && !terminal))) asked.format = "svg";
    if (asked.format.empty()) asked.format = "text";
    if (named && (asked.json || asked.format == "text"))
      refuse("--output is for a picture: svg or html");
  }
  if (is_an_input(asked.output, asked)) refuse("the output would replace the image");
}

int perform(const action& what, const request& asked, const options& wanted) {
  try {
    image_file image(asked.image());
    set_coloured(std::cout, !asked.json && wants_colour(STDOUT_FILENO, wanted.colour));
    pager reader(wanted.paged);
    try {
      (asked.json ? what.run_json : what.run)(image, asked, std::cout);
    } catch (...) {
      reader.finish();
      throw;
    }
    reader.finish();
    return 0;
  } catch (const named_error& e) {
    std::cout.flush();
    std::cerr << "readckpt: " << printable(e.subject()) << ": " << e.what() << '\n';
  } catch (const image_error& e) {
    std::cout.flush();
    std::cerr << "readckpt: " << printable(asked.image()) << ": " << e.what() << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "readckpt: " << printable(asked.image()) << ": its metadata is larger than memory\n";
  }
  return exit_image;
}

int run(int argc, char** argv) {
  std::vector<::option> table;
  for (const auto& o : readckpt_options)
    table.push_back({o.name.data(),
                     o.argument.empty()            ? no_argument
                     : o.argument.starts_with('[') ? optional_argument
                                                   : required_argument,
                     nullptr, o.code});
  table.push_back({"colour", optional_argument, nullptr, 'c'});
  table.push_back({});
  options wanted;
  for (int code = 0; (code = ::getopt_long(argc, argv, "o:", table.data(), nullptr)) != -1;) {
    const std::string value = optarg == nullptr ? "" : optarg;
    switch (code) {
      case 'j':
        wanted.json = true;
        break;
      case 'o':
        if (value.empty()) return usage("--output needs the name of a file");
        wanted.output = value;
        break;
      case 'f':
        if (value != "svg" && value != "html" && value != "text")
          return usage("--format is svg, html or text, not " + printable(value));
        wanted.format = value;
        break;
      case 'c':
        if (optarg == nullptr || value == "always" || value == "yes" || value == "force")
          wanted.colour = colour_wish::always;
        else if (value == "never" || value == "no" || value == "none")
          wanted.colour = colour_wish::never;
        else if (value == "auto" || value == "tty" || value == "if-tty")
          wanted.colour = colour_wish::automatic;
        else
          return usage("--color is auto, always or never, not " + printable(value));
        break;
      case 'P':
        wanted.paged = false;
        break;
      case 'h':
        print_readckpt_help(std::cout);
        return 0;
      case 'V':
        std::cout << "readckpt (ckpt) " CKPT_VERSION "\n";
        return 0;
      default:
        return usage();
    }
  }
  std::vector<std::string> operands(argv + optind, argv + argc);

  const action* what = &actions[0];
  request asked;
  if (operands.empty()) {
    const auto found = image_without_operand(argc > 0 ? argv[0] : "");
    if (!found) return usage();
    asked.operands = {*found};
  } else if (operands.size() == 1) {
    asked.operands = operands;
  } else {
    what = action_named(operands[0]);
    if (what == nullptr) return usage("no command is called " + printable(operands[0]));
    asked.command = what->name;
    asked.operands.assign(operands.begin() + 1, operands.end());
    const bool needs_all = what->name == "dump" || what->name == "diff";
    if (asked.operands.size() > 1 + what->most_operands ||
        (needs_all && asked.operands.size() < 1 + what->most_operands))
      return usage(std::string(what->name) + " takes " + std::string(operands_of(what->name)));
    if (what->name == "dump" && !parse_dump_range(asked.operands[1]).ok())
      return usage(printable(asked.operands[1]) +
                   " is not ADDR[:LEN], as in 7ffd00001000:512");
  }
  try {
    settle(asked, *what, wanted);
  } catch (const wrong_usage& e) {
    return usage(e.why);
  }
  if (what->kind != output_kind::text && (asked.format != "text" || asked.json) &&
      !(what->name == "extract" && asked.operands.size() < 2))
    wanted.paged = false;
  return perform(*what, asked, wanted);
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
