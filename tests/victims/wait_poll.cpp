// SPDX-License-Identifier: MIT
// poll on a pipe from outside that stays silent.
//
// Fidelity: calls | system calls in flight | kept; [SYSTEM_CALLS.md](SYSTEM_CALLS.md) says what a program sees of each
#include <poll.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "poll", [] {
    pollfd fd{0, POLLIN, 0};
    return poll(&fd, 1, victim::nap / 1'000'000) == 0;
  });
}
