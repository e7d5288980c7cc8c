// SPDX-License-Identifier: MIT
//
// What ckpt-restart, or an image that is run, was asked: options, variables, the operand.
#pragma once

#include "ckpt/options/help.hpp"
#include "ckpt/options/table.hpp"
#include "work.hpp"

namespace ckpt::restart {
namespace {

[[noreturn]] void usage(int fd, int status) {
  fixed_text<2600> out;
  if (global.is_image)
    out.append("usage: IMAGE [OPTION]...\n"
               "This is a ckpt image: running it lets the program in it go on.\n\n");
  else
    out.append("usage: ckpt-restart [OPTION]... IMAGE\n"
               "Lets the program in a ckpt image go on; - is standard input. Called restart or\n"
               "myrestart it takes myckpt.dat, then myckpt, when there is no IMAGE.\n\n");
  options::append_help<options::restart>(out);
  out.append("\nVariables and more: ckpt-restart(1). Exit status: the program's; 125 when it\n"
             "cannot be restarted.\n");
  sys::linux_files kernel;
  (void)sys::write_all(kernel, fd, bytes_of_text(out.view()));
  sys::exit_group(status);
}

/// Whether the kernel gave this process rights that whoever started it has not: an image with the
/// set-user-ID bit would run whatever is in it with them.
bool is_privileged(char** envp) {
  while (*envp != nullptr) ++envp;
  for (auto* a = reinterpret_cast<const u64*>(envp + 1); a[0] != sys::abi::at_null; a += 2)
    if (a[0] == sys::abi::at_secure) return a[1] != 0;
  return false;
}

/// False for a value that means nothing.
bool set_option(options::id id, std::string_view value) {
  switch (id) {
    case options::id::files:
      if (value == "rewind") global.files = state::files_policy::rewind;
      else if (value == "keep") global.files = state::files_policy::keep;
      else return false;
      return true;
    case options::id::identity:
      return parse_identity(value, global.identity);
    case options::id::verbose: {
      const auto on = options::parse_switch(value.empty() ? "1" : value);
      if (!on.ok()) return false;
      global.verbose = *on;
      return true;
    }
    default: return true;
  }
}

void read_environment(char** envp) {
  for (; *envp != nullptr; ++envp) {
    const std::string_view entry(*envp);
    for (const auto& o : options::rows_of<options::restart>) {
      if (o.variable.empty()) continue;
      if (!entry.starts_with(o.variable) || entry.size() <= o.variable.size() ||
          entry[o.variable.size()] != '=')
        continue;
      const auto value = entry.substr(o.variable.size() + 1);
      if (value.empty() || set_option(o.id, value)) continue;
      (void)global.why.refuse(o.variable, "=", quoted{value}, " means nothing (", o.meaning, ")");
      fail();
    }
  }
}

/// Returns the operand, null when there is none.
const char* read_arguments(char** argv) {
  const char* operand = nullptr;
  bool options_end = false;
  for (; *argv != nullptr; ++argv) {
    const std::string_view word(*argv);
    if (options_end || word.size() < 2 || word[0] != '-') {
      if (operand != nullptr || global.is_image) {
        (void)global.why.refuse("unexpected argument ", quoted{word}, " (see --help)");
        fail();
      }
      operand = *argv;
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    bool known = false;
    for (const auto& o : options::rows_of<options::restart>) {
      const bool short_form = word.size() == 2 && o.short_name != 0 && word[1] == o.short_name;
      bool long_form = word.starts_with("--") && word.substr(2).starts_with(o.long_name) &&
                       !o.long_name.empty();
      std::string_view value;
      if (long_form && word.size() > 2 + o.long_name.size()) {
        long_form = word[2 + o.long_name.size()] == '=' && !o.argument.empty();
        if (long_form) value = word.substr(3 + o.long_name.size());
      }
      if (!short_form && !long_form) continue;
      known = true;
      if (o.id == options::id::help) usage(1, 0);
      if (o.id == options::id::version) {
        sys::linux_files kernel;
        (void)sys::write_all(kernel, 1, bytes_of_text("ckpt " CKPT_VERSION "\n"));
        sys::exit_group(0);
      }
      if (!o.argument.empty() && value.empty() && argv[1] != nullptr) value = *++argv;
      if (!set_option(o.id, value)) {
        (void)global.why.refuse("--", o.long_name, " ", quoted{value}, " means nothing (",
                                o.meaning, ")");
        fail();
      }
      break;
    }
    if (!known) {
      (void)global.why.refuse("unknown option ", quoted{word}, " (see --help)");
      fail();
    }
  }
  return operand;
}

/// The course programs' names: without an operand, their file.
const char* default_operand(std::string_view invoked_as) {
  const auto slash = invoked_as.rfind('/');
  if (slash != std::string_view::npos) invoked_as.remove_prefix(slash + 1);
  if (invoked_as != "restart" && invoked_as != "myrestart") return nullptr;
  sys::abi::stat st{};
  for (const char* name : {"myckpt.dat", "myckpt"})
    if (sys::newfstatat(sys::abi::at_fdcwd, name, st, 0).ok()) return name;
  return nullptr;
}

}  // namespace
}  // namespace ckpt::restart
