// SPDX-License-Identifier: MIT
//
// ckpt [OPTION]... PROGRAM [ARGUMENT]...: the command line, read by getopt_long(3) from the one
// table of options.
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "../agent/config.hpp"
#include "ckpt/options/signal_name.hpp"
#include "ckpt/options/table.hpp"
#include "launch.hpp"

namespace {

using namespace ckpt;

constexpr int own_failure = 125;

void print_help(std::FILE* to) {
  std::fputs(
      "usage: ckpt [OPTION]... PROGRAM [ARGUMENT]...\n"
      "Runs PROGRAM so that a signal freezes it into one executable file; running that file\n"
      "lets it go on. Options end at the first word that is not one.\n\n",
      to);
  for (const auto& o : options::table) {
    if ((o.readers & options::command) == 0) continue;
    std::string left = o.short_name != 0 ? std::string("-") + o.short_name + ", " : "    ";
    left += "--" + std::string(o.long_name);
    if (!o.argument.empty()) left += " " + std::string(o.argument);
    std::fprintf(to, "  %-22s ", left.c_str());
    // Wrapped to a screen's width, continued under the first column of the text.
    std::string_view rest = o.meaning;
    constexpr std::size_t width = 54;
    while (rest.size() > width) {
      const auto cut = rest.rfind(' ', width);
      std::fprintf(to, "%.*s\n%25s", static_cast<int>(cut), rest.data(), "");
      rest.remove_prefix(cut + 1);
    }
    std::fprintf(to, "%.*s\n", static_cast<int>(rest.size()), rest.data());
  }
  std::fputs("\nVariables of the same meaning: ", to);
  const char* separator = "";
  for (const auto& o : options::table)
    if ((o.readers & (options::agent | options::restart)) != 0 && !o.variable.empty()) {
      std::fprintf(to, "%s%.*s", separator, static_cast<int>(o.variable.size()), o.variable.data());
      separator = ", ";
    }
  std::fputs(".\nExit status: the program's; 125 when ckpt itself fails, 126 and 127 as in a shell.\n",
             to);
}

[[noreturn]] void usage_error() {
  std::fputs("usage: ckpt [OPTION]... PROGRAM [ARGUMENT]... (see ckpt --help)\n", stderr);
  std::exit(own_failure);
}

[[noreturn]] void bad_value(const options::option& o, std::string_view value) {
  fixed_text<1024> shown;
  shown.append(quoted{value});
  if (o.id == options::id::signal && options::parse_signal(value).error() == errc::access) {
    std::fprintf(stderr, "ckpt: --signal %s %s\n", shown.c_str(), options::why_no_trigger.data());
    std::exit(own_failure);
  }
  std::fprintf(stderr, "ckpt: --%.*s %.*s means nothing (%.*s)\n",
               static_cast<int>(o.long_name.size()), o.long_name.data(),
               static_cast<int>(shown.view().size()), shown.view().data(),
               static_cast<int>(o.meaning.size()), o.meaning.data());
  std::exit(own_failure);
}

}  // namespace

int main(int argc, char** argv) {
  std::string short_names = "+";  // options end at the first word that is not one
  std::vector<::option> long_names;
  for (const auto& o : options::table) {
    if ((o.readers & options::command) == 0) continue;
    const bool has_argument = !o.argument.empty();
    if (o.short_name != 0) short_names += std::string(1, o.short_name) + (has_argument ? ":" : "");
    long_names.push_back({o.long_name.data(), has_argument ? required_argument : no_argument,
                          nullptr, 1000 + static_cast<int>(o.id)});
  }
  long_names.push_back({nullptr, 0, nullptr, 0});

  char own_name[] = "ckpt";  // getopt_long's messages begin with it
  argv[0] = own_name;
  command::settings settings;
  agent::config checked;  // the agent's own parser decides what a value may be
  for (int c; (c = getopt_long(argc, argv, short_names.c_str(), long_names.data(), nullptr)) != -1;) {
    if (c == '?') usage_error();
    for (const auto& o : options::table) {
      if ((o.readers & options::command) == 0 ||
          (c != 1000 + static_cast<int>(o.id) && (o.short_name == 0 || c != o.short_name)))
        continue;
      if (o.id == options::id::help) {
        print_help(stdout);
        return 0;
      }
      if (o.id == options::id::version) {
        std::puts("ckpt " CKPT_VERSION);
        return 0;
      }
      const std::string_view value = o.argument.empty() ? "1" : optarg;
      if (fixed_text<256> why; o.id == options::id::name && !options::may_be_name(value, why)) {
        fixed_text<600> shown;
        if (!value.empty()) shown.append(' ').append(quoted{value.substr(0, 80)});
        if (value.size() > 80) shown.append("...");
        std::fprintf(stderr, "ckpt: the name%s %s\n", shown.c_str(), why.c_str());
        return own_failure;
      }
      if (!checked.set(o.id, value)) bad_value(o, value);
      settings.emplace_back(o.long_name, value);
    }
  }
  if (optind >= argc) usage_error();
  try {
    return command::launch(settings, argv + optind);
  } catch (const std::bad_alloc&) {
    std::fputs("ckpt: not enough memory for ckpt itself; raise RLIMIT_AS (ulimit -v)\n", stderr);
    return own_failure;
  }
}
