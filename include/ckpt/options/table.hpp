// SPDX-License-Identifier: MIT
//
// Every option and every CKPT_* variable, once: what it is called, who reads it, what it means.
// `ckpt --help`, an image's --help, the manual's tables, the completions of three shells and tests
// are made from this table.
#pragma once

#include <array>

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
  ignore_fd,
  cpu,
  compress,
  transfer,
  ca,
  token_file,
  fallback,
  retry,
  pid,
  now,
  remove,
  resume,
  fresh_if_bad,
  keep_image,
  on,
  exit_code,
  doctor,
  json,
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
  std::string_view meaning;      // for the manual, and for who gave a value that means nothing
  std::string_view brief = {};   // for --help, at most 40 characters
  std::string_view choices = {}; // what the argument may be, separated by blanks, where that is a list
};

inline constexpr option table[] = {
    {id::name, "name", 'n', "NAME", "CKPT_NAME", command | agent,
     "write the image to NAME, in which %p is the process number, %n the checkpoint's, %t the time, "
     "%h the host (default: PROGRAM.ckpt in the current directory)",
     "the image's name (default: PROGRAM.ckpt)"},
    {id::continues, "continue", 'c', "", "CKPT_CONTINUE", command | agent,
     "go on after a checkpoint instead of ending with status 0",
     "go on after a checkpoint, do not end"},
    {id::signal, "signal", 'a', "SIGNAL", "CKPT_ASYNCSIG", command | agent,
     "checkpoint when SIGNAL arrives: SIGUSR2, USR2, usr2 or 12; 0 for none (default: SIGTSTP)",
     "what asks for a checkpoint (SIGTSTP)"},
    {id::period, "period", 'z', "MS", "CKPT_MSPERIOD", command | agent,
     "checkpoint every MS milliseconds and go on (default: 0, never)",
     "checkpoint every MS milliseconds"},
    {id::files, "files", 0, "POLICY", "CKPT_FILES", restart,
     "rewind: cut files that grew to their saved length, the rest kept beside them; keep: take "
     "files as they are, even shorter, replaced or gone",
     "rewind|keep: files that have changed", "rewind keep"},
    {id::identity, "identity", 0, "WAY", "CKPT_IDENTITY", restart,
     "how the program gets its process number back: keep (root), namespace, or new for another "
     "number (default: the best that changes nothing else)",
     "keep|namespace|new: its process number", "keep namespace new"},
    {id::log, "", 0, "FILE", "CKPT_LOG", agent,
     "where messages go when the program has closed or replaced its standard error",
     "messages, when standard error is gone"},
    {id::seccomp, "", 0, "try", "CKPT_SECCOMP", agent,
     "try: checkpoint although the program is under seccomp, whose filter may kill it",
     "try: checkpoint even under seccomp", "try"},
    {id::ignore_fd, "ignore-fd", 0, "LIST", "CKPT_IGNORE_FD", command | agent,
     "descriptors that do not stop a checkpoint and are closed after a restart: numbers, and socket "
     "or all for those that cannot be saved; several with commas, or repeated",
     "N|socket|all: close it at a restart", "socket all"},
    {id::cpu, "cpu", 0, "LEVEL", "CKPT_CPU", command | agent,
     "x86-64-v2, x86-64-v3 or x86-64-v4: glibc's functions in PROGRAM use no more than processors of that "
     "level have, and images run on all of them (default: all that this one has)",
     "x86-64-v2|v3|v4: run on all of these", "x86-64-v2 x86-64-v3 x86-64-v4"},
    {id::compress, "compress", 0, "HOW", "CKPT_COMPRESS", command | agent,
     "compress an image that goes elsewhere than to a file: lz4 or zstd, with :LEVEL behind it",
     "lz4|zstd[:LEVEL]: pack it on its way", "lz4 zstd"},
    {id::transfer, "", 0, "FILE", "CKPT_TRANSFER", agent,
     "the ckpt-transfer that carries images to cssrv://, cssrvs:// and exec: names (default: the one "
     "beside the ckpt command or of libckpt.so's installation, else in PATH)",
     "the program that carries images"},
    {id::ca, "", 0, "FILE", "CKPT_CA", agent,
     "certificates that cssrvs:// trusts (default: what the system trusts)",
     "certificates to trust"},
    {id::token_file, "", 0, "FILE", "CKPT_TOKEN_FILE", agent,
     "the token that a server wants to see, in a file that only its owner can read",
     "the token for a server"},
    {id::fallback, "", 0, "DIR", "CKPT_FALLBACK", agent,
     "where an image is kept that cannot be sent to its server",
     "where an image stays that cannot be sent"},
    {id::retry, "", 0, "SECONDS", "CKPT_RETRY", agent,
     "how long a server that does not answer is tried again (default: 10)",
     "how long a server is tried again"},
    {id::verbose, "verbose", 'v', "", "CKPT_VERBOSE", command | agent | restart,
     "say what is done",
     "say what is done"},
    {id::quiet, "quiet", 'q', "", "CKPT_QUIET", command | agent,
     "say nothing but errors: what could not be done",
     "say nothing but errors"},
    {id::pid, "pid", 'p', "PID", "", command,
     "no program is started: ckpt comes into the process PID, which runs already, with these options; "
     "where it is already, it takes them",
     "a process that runs already"},
    {id::now, "now", 0, "", "", command,
     "with --pid: checkpoint it at once, without any signal to it; the name of the complete image is "
     "printed",
     "with -p: checkpoint it at once"},
    {id::remove, "remove", 0, "", "", command,
     "with --pid: take ckpt out of the process again; its signal is the program's as before",
     "with -p: take ckpt out of it again"},
    {id::resume, "resume", 0, "", "", command,
     "go on from the image when it is there, otherwise start PROGRAM; when that ends by itself, the "
     "image is removed",
     "go on from NAME if it is there"},
    {id::fresh_if_bad, "fresh-if-bad", 0, "", "", command,
     "with --resume: a torn or incompatible image is renamed NAME.bad, and PROGRAM starts afresh",
     "with --resume: set a bad image aside"},
    {id::keep_image, "keep-image", 0, "", "", command,
     "with --resume: when PROGRAM ends by itself, its image is kept as NAME.done",
     "with --resume: keep it as NAME.done"},
    {id::on, "on", 0, "SIGNAL=WHAT,...", "", command,
     "checkpoint from outside when SIGNAL arrives here, then WHAT: exit or continue",
     "checkpoint at SIGNAL: exit, continue"},
    {id::exit_code, "exit-code", 0, "N", "", command,
     "exit with N after a checkpoint that has ended PROGRAM, as queues expect (85, 75; default: 0)",
     "status after a checkpoint that ended it"},
    {id::doctor, "doctor", 0, "", "", command,
     "say what stops a checkpoint of process PID, or a restart of IMAGE, and what helps; without "
     "either, what this machine gives",
     "can PID, IMAGE or this machine?"},
    {id::json, "json", 0, "", "", command, "with --doctor: the answer as JSON",
     "as JSON"},
    {id::help, "help", 'h', "", "", command | restart, "show this help", "this text"},
    {id::version, "version", 'V', "", "", command | restart, "show the version", "the version"},
};

/// The rows that one reader takes and no others: the restarter, which every image carries, is smaller
/// by the rest.
template <reader Who>
inline constexpr auto rows_of = [] {
  constexpr auto is_its_own = [](const option& o) { return (o.readers & Who) != 0; };
  constexpr std::size_t count = [&] {
    std::size_t n = 0;
    for (const auto& o : table) n += is_its_own(o) ? 1 : 0;
    return n;
  }();
  std::array<option, count> rows{};
  std::size_t i = 0;
  for (const auto& o : table)
    if (is_its_own(o)) rows[i++] = o;
  return rows;
}();

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
