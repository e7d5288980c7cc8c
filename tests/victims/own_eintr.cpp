// SPDX-License-Identifier: MIT
// A program that wants to be interrupted still is: its own alarm, without SA_RESTART, ends a read
// with EINTR, and nothing else does.
//
// Fidelity: calls | EINTR from the program's own signals | kept
#include <signal.h>
#include <sys/time.h>

#include "victim.hpp"

static volatile sig_atomic_t alarms;

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_handler = [](int) { alarms = alarms + 1; };
  sigaction(SIGALRM, &action, nullptr);
  itimerval often{{0, 70'000}, {0, 70'000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  victim::ready();
  while (!victim::stop_requested()) {
    int before = alarms;
    char byte;
    ssize_t got = read(0, &byte, 1);
    if (got != -1 || errno != EINTR) victim::lost("read: %zd, errno %d", got, errno);
    if (alarms == before) victim::lost("read was interrupted, but not by the program's alarm");
  }
  return victim::finish();
}
