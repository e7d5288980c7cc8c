// SPDX-License-Identifier: MIT
// Who a program is before and after: prints each fact as "NAME BEFORE | AFTER", and what signals
// reached it. Driven by tests/e2e/identity.py and job_control.py, which know what must be the same.
//
// Words after the stop file: drop (become an ordinary user first), listen (print signals that
// come), end=N (exit status), die=N (signal).
#include <grp.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "victim.hpp"

namespace {

void heard(int signal, siginfo_t* info, void*) {
  char text[64];
  const int value = info->si_code == SI_QUEUE ? info->si_value.sival_int : -1;
  snprintf(text, sizeof text, "signal %d %d\n", signal, value);
  victim::say(text);
}

std::string link_of(const char* path) {
  char text[4096];
  const ssize_t n = readlink(path, text, sizeof text);
  return n < 0 ? "-" : std::string(text, static_cast<size_t>(n));
}

std::string lines_of_status(const char* path) {
  std::string found;
  const std::string text = victim::slurp(path);
  for (const char* key : {"\nUid:", "\nGid:", "\nGroups:", "\nCapInh:", "\nCapPrm:", "\nCapEff:",
                          "\nCapBnd:", "\nCapAmb:"}) {
    const auto at = text.find(key);
    if (at == std::string::npos) continue;
    found += text.substr(at + 1, text.find('\n', at + 1) - at - 1) + ";";
  }
  for (char& c : found)
    if (c == '\t' || c == ' ') c = ',';
  return found;
}

int64_t of_clock(int clock, bool by_call) {
  timespec t{};
  if (by_call)
    syscall(SYS_clock_gettime, clock, &t);
  else
    clock_gettime(clock, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

struct facts {
  long pid = getpid(), tid = syscall(SYS_gettid);
  int64_t monotonic = of_clock(CLOCK_MONOTONIC, false);
  int64_t monotonic_by_call = of_clock(CLOCK_MONOTONIC, true);
  int64_t boottime = of_clock(CLOCK_BOOTTIME, false);
  int64_t boottime_by_call = of_clock(CLOCK_BOOTTIME, true);
  std::string self = link_of("/proc/self"), program = link_of("/proc/self/exe");
  std::string who = lines_of_status("/proc/self/status");
};

void print(const char* name, const std::string& before, const std::string& after) {
  victim::say((std::string(name) + ' ' + before + " | " + after + '\n').c_str());
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  int status = 0, death = 0;
  for (int i = 2; i < count; ++i) {
    const std::string word = values[i];
    if (word == "drop" && (setgroups(0, nullptr) != 0 || setresgid(65534, 65534, 65534) != 0 ||
                           setresuid(65534, 65534, 65534) != 0))
      victim::broken("setresuid");
    if (word == "listen")
      for (int signal : {SIGHUP, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2, SIGALRM, SIGTERM, SIGWINCH,
                         SIGCONT, SIGRTMIN + 3}) {
        struct sigaction action {};
        action.sa_sigaction = heard;
        action.sa_flags = SA_SIGINFO | SA_RESTART;
        sigaction(signal, &action, nullptr);
      }
    if (word.starts_with("end=")) status = atoi(word.c_str() + 4);
    if (word.starts_with("die=")) death = atoi(word.c_str() + 4);
  }
  const facts before;
  int64_t latest = before.monotonic, longest = 0;
  victim::ready();
  while (!victim::stop_requested()) {
    const int64_t now = of_clock(CLOCK_MONOTONIC, false);
    if (now - latest > longest) longest = now - latest;
    if (now < latest) victim::say("the clock went back\n");
    latest = now;
    usleep(2000);
  }
  const facts after;
  const auto text = [](int64_t n) { return std::to_string(n); };
  print("pid", text(before.pid), text(after.pid));
  print("tid", text(before.tid), text(after.tid));
  print("parent", "-", text(getppid()));
  print("monotonic", text(before.monotonic), text(after.monotonic));
  print("boottime", text(before.boottime), text(after.boottime));
  // The two ways to ask, one after the other.
  print("vdso", text(after.monotonic_by_call - after.monotonic),
        text(after.boottime_by_call - after.boottime));
  print("gap", "-", text(longest));
  print("self", before.self, after.self);
  print("program", before.program, after.program);
  print("who", before.who, after.who);
  // Children are the program's own, and orphans somebody else's.
  if (const pid_t child = fork(); child == 0)
    _exit(getppid() == after.pid ? 11 : 12);
  else {
    int ended = 0;
    print("child", "11", waitpid(child, &ended, 0) == child ? text(WEXITSTATUS(ended)) : "-");
  }
  if (death != 0) {
    signal(death, SIG_DFL);
    raise(death);
  }
  return status;
}
