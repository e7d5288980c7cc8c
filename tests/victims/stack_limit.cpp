// SPDX-License-Identifier: MIT
// A stack limit of nothing, which lets no stack grow, a restarter's neither: it is there, and raised again
// the stack grows as before.
//
// Fidelity: memory | a stack that may not grow, and does when it may again | kept
#include <sys/resource.h>

#include "victim.hpp"

[[gnu::noinline]] static int descend(int levels) {
  volatile unsigned char frame[4096];
  for (size_t i = 0; i < sizeof frame; i += 64) frame[i] = static_cast<unsigned char>(levels);
  const int below = levels > 0 ? descend(levels - 1) : 0;
  return frame[64] == static_cast<unsigned char>(levels) && below >= 0 ? below + 1 : -1;
}

static void expect_limit(rlim_t wanted) {
  rlimit now{};
  getrlimit(RLIMIT_STACK, &now);
  victim::expect_equal("RLIMIT_STACK", wanted, now.rlim_cur);
}

int main(int count, char** values) {
  victim::begin(count, values);
  rlimit limit{};
  getrlimit(RLIMIT_STACK, &limit);
  const rlimit nothing{0, limit.rlim_max};
  if (limit.rlim_cur < (4u << 20)) victim::skip("the stack limit is below 4 MiB");
  descend(64);  // what the checks need is there before
  if (setrlimit(RLIMIT_STACK, &nothing) != 0) victim::broken("setrlimit");
  victim::work_until_stop();
  expect_limit(0);
  if (setrlimit(RLIMIT_STACK, &limit) != 0) victim::lost("setrlimit");
  if (descend(512) < 0) victim::lost("frames of two MiB of stack");
  return victim::finish();
}
