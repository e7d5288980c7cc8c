// SPDX-License-Identifier: MIT
// pause returns for the program's own alarm, and for nothing else.
#include <signal.h>
#include <sys/time.h>

#include "victim.hpp"

static volatile sig_atomic_t alarms;

int main(int count, char** values) {
  victim::begin(count, values);
  signal(SIGALRM, [](int) { alarms = alarms + 1; });
  itimerval often{{0, 70'000}, {0, 70'000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  victim::ready();
  while (!victim::stop_requested()) {
    int before = alarms;
    int got = pause();
    if (got != -1 || errno != EINTR) victim::lost("pause: %d, errno %d", got, errno);
    if (alarms == before) victim::lost("pause came back without a signal of the program's");
  }
  return victim::finish();
}
