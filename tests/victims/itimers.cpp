// SPDX-License-Identifier: MIT
// Interval timers: the long ones keep their interval and go on from where they were, and the short
// one goes on ticking. CPU-time timers are charged for work and not for the time spent in an image.
//
// Fidelity: timers | setitimer: real, virtual, profiling | kept; they stand still between checkpoint and restart
#include <signal.h>
#include <sys/time.h>

#include "victim.hpp"

static volatile int ticks;

static int64_t micro(timeval value) {
  return value.tv_sec * 1'000'000 + value.tv_usec;
}

static void expect_timer(const char* what, int which, itimerval set) {
  itimerval left{};
  getitimer(which, &left);
  victim::expect_equal(what, static_cast<uint64_t>(micro(set.it_interval)),
                       static_cast<uint64_t>(micro(left.it_interval)));
  if (micro(left.it_value) <= 0 || micro(left.it_value) > micro(set.it_value))
    victim::lost("%s: %lld us left of %lld", what, static_cast<long long>(micro(left.it_value)),
                 static_cast<long long>(micro(set.it_value)));
}

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_handler = [](int) { ticks = ticks + 1; };
  action.sa_flags = SA_RESTART;
  sigaction(SIGALRM, &action, nullptr);
  itimerval real{{0, 20'000}, {0, 20'000}};
  itimerval work{{3000, 250}, {5000, 750}};
  itimerval both{{4000, 125}, {6000, 500}};
  setitimer(ITIMER_REAL, &real, nullptr);
  setitimer(ITIMER_VIRTUAL, &work, nullptr);
  setitimer(ITIMER_PROF, &both, nullptr);
  victim::work_until_stop();

  expect_timer("ITIMER_REAL", ITIMER_REAL, real);
  expect_timer("ITIMER_VIRTUAL", ITIMER_VIRTUAL, work);
  expect_timer("ITIMER_PROF", ITIMER_PROF, both);
  int before = ticks;
  int64_t end = victim::now() + 300'000'000;
  while (victim::now() < end) victim::compute();
  if (ticks - before < 5) victim::lost("%d ticks of 20 ms in 300 ms", ticks - before);
  return victim::finish();
}
