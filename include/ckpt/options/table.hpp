// SPDX-License-Identifier: MIT
//
// Every option and every CKPT_* variable, once: what it is called, who reads it, what it means.
// `ckpt --help`, an image's --help, the manual's tables and a test are made from this table.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"

namespace ckpt::options {

enum class id : u8 {
  name,
  continues,
  signal,
  period,
  files,
  identity,
  verbose,
  quiet,
  log,
  seccomp,
  help,
  version
};

/// Who reads it: the ckpt command, the agent when a program loads it, an image when it restarts.
enum reader : u8 { command = 1, agent = 2, restart = 4 };

struct option {
  options::id id;
  std::string_view long_name;  // without dashes; empty where only the variable exists
  char short_name;             // 0 for none
  std::string_view argument;   // empty for a switch
  std::string_view variable;   // empty for none
  u8 readers;
  std::string_view meaning;
};

inline constexpr option table[] = {
    {id::name, "name", 'n', "NAME", "CKPT_NAME", command | agent,
     "write the image to NAME, in which %p is the process number, %n the checkpoint's, %t the time, "
     "%h the host (default: PROGRAM.ckpt in the current directory)"},
    {id::continues, "continue", 'c', "", "CKPT_CONTINUE", command | agent,
     "go on after a checkpoint instead of ending with status 0"},
    {id::signal, "signal", 'a', "SIGNAL", "CKPT_ASYNCSIG", command | agent,
     "checkpoint when SIGNAL arrives: SIGUSR2, USR2, usr2 or 12; 0 for none (default: SIGTSTP)"},
    {id::period, "period", 'z', "MS", "CKPT_MSPERIOD", command | agent,
     "checkpoint every MS milliseconds and go on (default: 0, never)"},
    {id::files, "files", 0, "POLICY", "CKPT_FILES", restart,
     "rewind: cut files that grew to their saved length, the rest kept beside them; keep: take "
     "files as they are, even shorter, replaced or gone"},
    {id::identity, "identity", 0, "WAY", "CKPT_IDENTITY", restart,
     "how the program gets its process number back: keep (root), namespace, or new for another "
     "number (default: the best that changes nothing else)"},
    {id::log, "", 0, "FILE", "CKPT_LOG", agent,
     "where messages go when the program has closed or replaced its standard error"},
    {id::seccomp, "", 0, "try", "CKPT_SECCOMP", agent,
     "try: checkpoint although the program is under seccomp, whose filter may kill it"},
    {id::verbose, "verbose", 'v', "", "CKPT_VERBOSE", command | agent | restart,
     "say what is done"},
    {id::quiet, "quiet", 'q', "", "CKPT_QUIET", command | agent,
     "say nothing but errors: what could not be done"},
    {id::help, "help", 'h', "", "", command | restart, "show this help"},
    {id::version, "version", 'V', "", "", command | restart, "show the version"},
};

/// 1, yes, true, on and 0, no, false, off, in any case.
[[nodiscard]] constexpr result<bool> parse_switch(std::string_view text) {
  const auto is = [&](std::string_view word) {
    if (text.size() != word.size()) return false;
    for (std::size_t i = 0; i < word.size(); ++i) {
      const char c = text[i];
      if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != word[i]) return false;
    }
    return true;
  };
  if (is("1") || is("yes") || is("true") || is("on")) return true;
  if (is("0") || is("no") || is("false") || is("off")) return false;
  return errc::invalid;
}

}  // namespace ckpt::options
