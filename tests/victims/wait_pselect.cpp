// SPDX-License-Identifier: MIT
// pselect with a mask.
#include <signal.h>
#include <sys/select.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "pselect", [] {
    timespec time = victim::nap_spec();
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    return pselect(0, nullptr, nullptr, nullptr, &time, &mask) == 0;
  });
}
