// SPDX-License-Identifier: MIT
// ppoll with a mask and a time limit.
#include <poll.h>
#include <signal.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "ppoll", [] {
    pollfd fd{0, POLLIN, 0};
    timespec time = victim::nap_spec();
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    return ppoll(&fd, 1, &time, &mask) == 0;
  });
}
