// SPDX-License-Identifier: MIT
//
// kill_at N PROGRAM ARGUMENT...: runs a program and kills it, with all the processes that it has made,
// when they enter their N-th system call (from 0), which is not made any more. Status 0 when they were killed,
// 1 when they have ended before it.
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <map>

#include "seized_command.hpp"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  long left = std::atol(argv[1]);
  const pid_t first = seized_command(argv + 2, PTRACE_O_TRACESYSGOOD);
  if (first < 0) return 2;
  int status = 0;
  kill(first, SIGCONT);
  std::map<pid_t, bool> inside;  // of a call
  bool counts = false;           // from its execve on
  bool killed = false;
  for (;;) {
    const pid_t task = waitpid(-1, &status, __WALL);
    if (task < 0 && errno == EINTR) continue;
    if (task < 0) break;
    if (!WIFSTOPPED(status)) {
      inside.erase(task);
      continue;
    }
    const int signal = WSTOPSIG(status), event = status >> 16;
    int passed_on = 0;
    if (signal == (SIGTRAP | 0x80)) {
      bool& in = inside[task];
      in = !in;
      if (in && counts && left-- == 0) {
        killed = true;
        // No ptrace stop is in the way of SIGKILL, nor of another's.
        for (const auto& [each, ignored] : inside) (void)kill(each, SIGKILL);
        continue;
      }
    } else if (event == PTRACE_EVENT_EXEC) {
      counts = true;
    } else if (event == 0) {
      passed_on = signal;
    } else if (event != PTRACE_EVENT_STOP) {
      unsigned long made = 0;
      if (ptrace(PTRACE_GETEVENTMSG, task, 0, &made) == 0) inside.try_emplace(static_cast<pid_t>(made), false);
    }
    inside.try_emplace(task, false);
    (void)ptrace(PTRACE_SYSCALL, task, 0, passed_on);
  }
  return killed ? 0 : 1;
}
