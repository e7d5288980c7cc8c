// SPDX-License-Identifier: MIT
//
// crash_site REPORT PROGRAM ARGUMENT...: runs a program and writes to REPORT a line for each signal by
// which the processor stops it or one of its children: the signal, where the code is that was stopped, and
// the file that is mapped there. Its status is the program's; 128 + N when a signal has ended that.
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>

#include "seized_command.hpp"

namespace {

bool by_the_processor(int signal, pid_t task) {
  if (signal != SIGSEGV && signal != SIGBUS && signal != SIGILL && signal != SIGFPE && signal != SIGTRAP)
    return false;
  siginfo_t info{};
  return ptrace(PTRACE_GETSIGINFO, task, 0, &info) == 0 && info.si_code > 0;
}

std::string file_at(pid_t task, unsigned long address) {
  std::ifstream maps("/proc/" + std::to_string(task) + "/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin = 0, end = 0;
    int name = 0;
    if (std::sscanf(line.c_str(), "%lx-%lx %*s %*s %*s %*s %n", &begin, &end, &name) >= 2 &&
        begin <= address && address < end)
      return static_cast<std::size_t>(name) < line.size() ? line.substr(static_cast<std::size_t>(name)) : "-";
  }
  return "-";
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  std::FILE* report = std::fopen(argv[1], "we");
  if (report == nullptr) return 2;
  const pid_t first = seized_command(argv + 2, 0);
  if (first < 0) return 2;
  int status = 0;
  kill(first, SIGCONT);
  int ended = 2;
  for (;;) {
    const pid_t task = waitpid(-1, &status, __WALL);
    if (task < 0 && errno == EINTR) continue;
    if (task < 0) break;
    if (!WIFSTOPPED(status)) {
      if (task == first) ended = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
      continue;
    }
    const int signal = WSTOPSIG(status), event = status >> 16;
    int passed_on = 0;
    if (event == PTRACE_EVENT_STOP && signal != SIGTRAP) {
      (void)ptrace(PTRACE_LISTEN, task, 0, 0);  // a stop by job control
      continue;
    }
    if (event == 0) {
      passed_on = signal;
      user_regs_struct registers{};
      if (by_the_processor(signal, task) && ptrace(PTRACE_GETREGS, task, 0, &registers) == 0) {
        std::fprintf(report, "%d %llx %s\n", signal, registers.rip, file_at(task, registers.rip).c_str());
        std::fflush(report);
      }
    }
    (void)ptrace(PTRACE_CONT, task, 0, passed_on);
  }
  std::fclose(report);
  return ended;
}
