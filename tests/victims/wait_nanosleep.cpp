// SPDX-License-Identifier: MIT
// nanosleep.

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "nanosleep", [] {
    timespec time = victim::nap_spec();
    return nanosleep(&time, nullptr) == 0;
  });
}
