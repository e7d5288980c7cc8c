// SPDX-License-Identifier: MIT
// clock_nanosleep until a moment.

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "clock_nanosleep", [] {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    int64_t end = time.tv_sec * 1'000'000'000 + time.tv_nsec + victim::nap;
    time = {end / 1'000'000'000, end % 1'000'000'000};
    return clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr) == 0;
  });
}
