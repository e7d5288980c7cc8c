// SPDX-License-Identifier: MIT
//
// A command that is held by ptrace before its first system call, with all that it makes, and dies with
// whoever holds it.
#pragma once

#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>

/// Stopped: SIGCONT lets it go on. `options` are PTRACE_O_* beside those for its children. -1 with a line.
inline pid_t seized_command(char** argv, long options) {
  const pid_t first = fork();
  if (first == 0) {
    raise(SIGSTOP);
    execv(argv[0], argv);
    _exit(127);
  }
  int status = 0;
  if (waitpid(first, &status, WUNTRACED) != first || !WIFSTOPPED(status)) return -1;
  options |= PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
             PTRACE_O_EXITKILL;
  if (ptrace(PTRACE_SEIZE, first, 0, options) == 0) return first;
  std::perror("PTRACE_SEIZE");
  kill(first, SIGKILL);
  return -1;
}
