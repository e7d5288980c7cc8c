// SPDX-License-Identifier: MIT
// poll on a pipe from outside that stays silent.
#include <poll.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "poll", [] {
    pollfd fd{0, POLLIN, 0};
    return poll(&fd, 1, victim::nap / 1'000'000) == 0;
  });
}
