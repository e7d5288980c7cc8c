// SPDX-License-Identifier: MIT
// select, which counts its time limit down.
#include <sys/select.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "select", [] {
    fd_set set;
    FD_ZERO(&set);
    FD_SET(0, &set);
    timeval time{0, victim::nap / 1000};
    return select(1, &set, nullptr, nullptr, &time) == 0;
  });
}
