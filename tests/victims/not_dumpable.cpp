// SPDX-License-Identifier: MIT
// A process that is not dumpable: /proc/self belongs to root then, and nobody may trace it.
//
// Fidelity: settings | a process that is not dumpable | kept
#include <sys/prctl.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) victim::broken("PR_SET_DUMPABLE");
  victim::work_until_stop();
  victim::expect_equal("dumpable", 0, static_cast<uint64_t>(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0)));
  return victim::finish();
}
