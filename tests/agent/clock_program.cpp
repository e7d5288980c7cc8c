// SPDX-License-Identifier: MIT
//
// Uses the vDSO before and after a checkpoint that it takes of itself, by the addresses that libc
// looked up at the start; and has no children, so that it should hear of none.
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

namespace {

long long now(clockid_t clock) {
  timespec t{};
  if (clock_gettime(clock, &t) != 0) return -1;
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

volatile sig_atomic_t heard_of_child = 0;

bool clocks_run() {
  const long long monotonic = now(CLOCK_MONOTONIC);
  const long long realtime = now(CLOCK_REALTIME);
  timeval of_day{};
  gettimeofday(&of_day, nullptr);
  const time_t seconds = time(nullptr);
  const timespec pause{0, 2'000'000};
  nanosleep(&pause, nullptr);
  const long long passed = now(CLOCK_MONOTONIC) - monotonic;
  return monotonic > 0 && realtime > 0 && passed >= 2'000'000 && passed < 10'000'000'000 &&
         of_day.tv_sec >= realtime / 1'000'000'000 && seconds + 1 >= of_day.tv_sec &&
         sched_getcpu() >= 0;
}

}  // namespace

int main() {
  signal(SIGCHLD, [](int) { heard_of_child = 1; });
  if (!clocks_run()) return 1;
  raise(SIGUSR1);
  for (int i = 0; i < 20; ++i)
    if (!clocks_run()) {
      puts("the clocks are wrong");
      return 1;
    }
  if (heard_of_child != 0 || waitpid(-1, nullptr, WNOHANG) != -1) {
    puts("a child that is not ours");
    return 1;
  }
  puts("the clocks run");
  return 7;
}
