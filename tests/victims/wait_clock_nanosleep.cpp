// SPDX-License-Identifier: MIT
// clock_nanosleep, relative, against the clock of the time of day.

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "clock_nanosleep", [] {
    timespec time = victim::nap_spec();
    return clock_nanosleep(CLOCK_REALTIME, 0, &time, nullptr) == 0;
  });
}
