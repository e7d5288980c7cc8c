// SPDX-License-Identifier: MIT
// sigsuspend returns for the program's own alarm only, and the mask that it puts aside comes back.
#include <signal.h>
#include <sys/time.h>

#include "victim.hpp"

static volatile sig_atomic_t alarms;

int main(int count, char** values) {
  victim::begin(count, values);
  signal(SIGALRM, [](int) { alarms = alarms + 1; });
  sigset_t outside, inside, now;
  sigemptyset(&outside);
  sigaddset(&outside, SIGALRM);
  sigaddset(&outside, SIGUSR1);
  sigprocmask(SIG_SETMASK, &outside, nullptr);
  sigemptyset(&inside);
  sigaddset(&inside, SIGUSR2);
  itimerval often{{0, 70'000}, {0, 70'000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  victim::ready();
  while (!victim::stop_requested()) {
    int before = alarms;
    int got = sigsuspend(&inside);
    if (got != -1 || errno != EINTR) victim::lost("sigsuspend: %d, errno %d", got, errno);
    if (alarms == before) victim::lost("sigsuspend came back without a signal of the program's");
    sigprocmask(SIG_BLOCK, nullptr, &now);
    if (!sigismember(&now, SIGALRM) || !sigismember(&now, SIGUSR1) || sigismember(&now, SIGUSR2))
      victim::lost("the mask after sigsuspend");
  }
  return victim::finish();
}
