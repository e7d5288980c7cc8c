// SPDX-License-Identifier: MIT
// A real-time timer without an interval, far from its end: what is left shrinks with time the
// program lives through, and never grows.
//
// Fidelity: timers | alarm: what remains | kept
#include <signal.h>
#include <sys/time.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  itimerval set{{0, 0}, {500, 0}};
  setitimer(ITIMER_REAL, &set, nullptr);
  int64_t start = victim::now();
  int64_t last = 500'000'000'000;
  victim::ready();
  while (!victim::stop_requested()) {
    victim::compute();
    itimerval left{};
    getitimer(ITIMER_REAL, &left);
    int64_t rest = left.it_value.tv_sec * 1'000'000'000 + left.it_value.tv_usec * 1000;
    if (rest <= 0) victim::lost("the timer is not armed");
    if (rest > last + 1'000'000)
      victim::lost("the timer has gained %lld us", static_cast<long long>((rest - last) / 1000));
    last = rest;
  }
  int64_t passed = victim::now() - start;
  if (last < 500'000'000'000 - passed - 2'000'000'000)
    victim::lost("%lld ms left after %lld ms", static_cast<long long>(last / 1'000'000),
                 static_cast<long long>(passed / 1'000'000));
  return victim::finish();
}
