// SPDX-License-Identifier: MIT
//
// readckpt [COMMAND] IMAGE: shows what is in an image without running anything of it.
#include <getopt.h>
#include <unistd.h>

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

namespace {

using namespace ckpt;
using namespace ckpt::tools;

constexpr int exit_image = 1;
constexpr int exit_usage = 2;

struct request {
  std::string image;
  dump_range range{};
};

struct action {
  std::string_view name;
  void (*run)(image_file&, const request&, std::ostream&);
  void (*run_json)(const image_file&, std::ostream&);
};

constexpr action actions[] = {
    {"info",
     [](image_file& i, const request& r, std::ostream& out) { print_info(i, r.image, out); },
     info_json},
    {"segments", [](image_file& i, const request&, std::ostream& out) { print_segments(i, out); },
     segments_json},
    {"fds", [](image_file& i, const request&, std::ostream& out) { print_descriptors(i, out); },
     descriptors_json},
    {"threads", [](image_file& i, const request&, std::ostream& out) { print_threads(i, out); },
     threads_json},
    {"state", [](image_file& i, const request&, std::ostream& out) { print_state(i, out); },
     state_json},
    {"cmdline",
     [](image_file& i, const request&, std::ostream& out) { print_command_line(i, out); }, nullptr},
    {"environ", [](image_file& i, const request&, std::ostream& out) { print_environment(i, out); },
     nullptr},
    {"verify", [](image_file& i, const request& r, std::ostream& out) { verify(i, r.image, out); },
     nullptr},
    {"dump", [](image_file& i, const request& r, std::ostream& out) { dump(i, r.range, out); },
     nullptr},
};
static_assert(std::size(actions) == std::size(readckpt_commands));

[[nodiscard]] int usage(const std::string& why = {}) {
  if (!why.empty()) std::cerr << "readckpt: " << why << '\n';
  std::cerr << "usage: readckpt [--json] [COMMAND] IMAGE (readckpt --help says more)\n";
  return exit_usage;
}

const action* action_named(std::string_view name) {
  for (const action& a : actions)
    if (a.name == name) return &a;
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
  for (const auto& o : readckpt_options)
    table.push_back({o.name.data(), no_argument, nullptr, o.code});
  table.push_back({});
  bool as_json = false;
  for (int code = 0; (code = ::getopt_long(argc, argv, "", table.data(), nullptr)) != -1;) {
    switch (code) {
      case 'j':
        as_json = true;
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
  const std::vector<std::string> operands(argv + optind, argv + argc);

  const action* what = &actions[0];
  request asked;
  if (operands.empty()) {
    const auto found = image_without_operand(argc > 0 ? argv[0] : "");
    if (!found) return usage();
    asked.image = *found;
  } else if (operands.size() == 1) {
    asked.image = operands[0];
  } else {
    what = action_named(operands[0]);
    if (what == nullptr) return usage("no command is called " + printable(operands[0]));
    asked.image = operands[1];
    const bool dumps = what->name == "dump";
    if (operands.size() != (dumps ? 3u : 2u))
      return usage(std::string(what->name) + (dumps ? " takes IMAGE ADDR[:LEN]" : " takes IMAGE"));
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
