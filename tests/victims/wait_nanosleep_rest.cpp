// SPDX-License-Identifier: MIT
// nanosleep that asks for the rest: it must not be told of an interruption.

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "nanosleep", [] {
    timespec time = victim::nap_spec(), rest{};
    return nanosleep(&time, &rest) == 0;
  });
}
