// SPDX-License-Identifier: MIT
//
// ckpt [OPTION]... PROGRAM [ARGUMENT]...: the command line, read by getopt_long(3) from the one
// table of options.
#include <getopt.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "../../transfer/url.hpp"
#include "../agent/config.hpp"
#include "ckpt/options/signal_name.hpp"
#include "ckpt/options/table.hpp"
#include "doctor.hpp"
#include "exit_status.hpp"
#include "help.hpp"
#include "job.hpp"
#include "launch.hpp"
#include "now.hpp"

namespace {

using namespace ckpt;
using command::own_failure;

/// What wrong usage ends with. With -p no program could have the same status, and it is 2.
int usage_status = own_failure;

[[noreturn]] void usage_error() {
  std::fputs("usage: ckpt [OPTION]... PROGRAM [ARGUMENT]... (see ckpt --help)\n", stderr);
  std::exit(usage_status);
}

/// What only ckpt-transfer would find out is said before the program runs for a day.
bool may_be_image(std::string_view name, fixed_text<256>& why) {
  if (!options::may_be_name(name, why)) return false;
  std::string fault;
  if (!options::goes_elsewhere(name) || transfer::parse_url(name, fault)) return true;
  why.append("means nothing: ").append(fault);
  return false;
}

[[noreturn]] void bad_value(const options::option& o, std::string_view value) {
  fixed_text<1024> shown;
  shown.append(quoted{value});
  if (o.id == options::id::signal && options::parse_signal(value).error() == errc::access) {
    std::fprintf(stderr, "ckpt: --signal %s %s\n", shown.c_str(), options::why_no_trigger.data());
    std::exit(usage_status);
  }
  std::fprintf(stderr, "ckpt: --%.*s %.*s means nothing (%.*s)\n",
               static_cast<int>(o.long_name.size()), o.long_name.data(),
               static_cast<int>(shown.view().size()), shown.view().data(),
               static_cast<int>(o.meaning.size()), o.meaning.data());
  std::exit(usage_status);
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
  command::job_options job;
  command::now_options at_once;
  command::doctor_options examined;
  agent::config checked;  // the agent's own parser decides what a value may be
  const char* whom = nullptr;  // to be examined: no program, so options may stand behind it
  for (;;) {
    const int c = getopt_long(argc, argv, short_names.c_str(), long_names.data(), nullptr);
    if (c == -1) {
      if (!examined.asked || whom != nullptr || optind >= argc) break;
      whom = argv[optind++];
      continue;
    }
    constexpr int long_pid = 1000 + static_cast<int>(options::id::pid);
    constexpr int long_doctor = 1000 + static_cast<int>(options::id::doctor);
    if (c == 'p' || c == long_pid || c == long_doctor || (c == '?' && (optopt == 'p' || optopt == long_pid)))
      usage_status = 2;
    if (c == '?') usage_error();
    for (const auto& o : options::table) {
      if ((o.readers & options::command) == 0 ||
          (c != 1000 + static_cast<int>(o.id) && (o.short_name == 0 || c != o.short_name)))
        continue;
      if (o.id == options::id::help) {
        command::print_help(stdout);
        return 0;
      }
      if (o.id == options::id::version) {
        std::puts("ckpt " CKPT_VERSION);
        return 0;
      }
      const std::string_view value = o.argument.empty() ? "1" : optarg;
      if (fixed_text<256> why; o.id == options::id::name && !may_be_image(value, why)) {
        fixed_text<600> shown;
        if (!value.empty()) shown.append(' ').append(quoted{value.substr(0, 80)});
        if (value.size() > 80) shown.append("...");
        std::fprintf(stderr, "ckpt: the name%s %s\n", shown.c_str(), why.c_str());
        return usage_status;
      }
      const auto own = command::take_job_option(job, o.id, value);
      if (own == command::taken::wrong || (o.id == options::id::pid && !at_once.take_pid(value)) ||
          !checked.set(o.id, value))
        bad_value(o, value);
      at_once.now = at_once.now || o.id == options::id::now;
      at_once.remove = at_once.remove || o.id == options::id::remove;
      examined.asked = examined.asked || o.id == options::id::doctor;
      examined.as_json = examined.as_json || o.id == options::id::json;
      if (own == command::taken::yes || o.id == options::id::pid || o.id == options::id::now ||
          o.id == options::id::remove || o.id == options::id::doctor || o.id == options::id::json)
        continue;
      settings.emplace_back(o.long_name, value);
    }
  }
  if (examined.asked) {
    if (job.any() || at_once.remove || optind < argc || (at_once.pid != 0 && whom != nullptr)) usage_error();
    return command::examine(examined, at_once, whom != nullptr ? whom : "", checked);
  }
  if (examined.as_json) usage_error();
  if (at_once.pid != 0) {
    const bool two_things = at_once.remove && (at_once.now || !settings.empty());
    if (checked.cpu_level != 0) {
      std::fputs("ckpt: --cpu is for a program that ckpt starts: one that runs has chosen its code\n", stderr);
      return usage_status;
    }
    if (optind < argc || job.any() || two_things) usage_error();
    return command::attach(at_once, settings, checked);
  }
  if (optind >= argc || at_once.now || at_once.remove) usage_error();
  try {
    if (job.any()) return command::run_job(job, settings, checked, argv + optind);
    return command::launch(settings, argv + optind);
  } catch (const std::bad_alloc&) {
    std::fputs("ckpt: not enough memory for ckpt itself; raise RLIMIT_AS (ulimit -v)\n", stderr);
    return own_failure;
  }
}
