// SPDX-License-Identifier: MIT
// The stack: what was on it is there, and it still grows on its own to nearly its limit.
//
// Fidelity: memory | the stack, and its growth | kept
#include <sys/resource.h>

#include "victim.hpp"

[[gnu::noinline]] static int descend(int levels, bool check_here) {
  volatile unsigned char frame[4096];
  for (size_t i = 0; i < sizeof frame; i += 64)
    frame[i] = victim::pattern(9, i + static_cast<size_t>(levels));
  int below = 0;
  if (levels > 0)
    below = descend(levels - 1, check_here);
  else if (check_here)
    victim::work_until_stop();
  for (size_t i = 0; i < sizeof frame; i += 64)
    if (frame[i] != victim::pattern(9, i + static_cast<size_t>(levels))) return -1;
  return below < 0 ? below : below + 1;
}

int main(int count, char** values) {
  victim::begin(count, values);
  rlimit limit{};
  getrlimit(RLIMIT_STACK, &limit);
  if (limit.rlim_cur < (8u << 20)) victim::skip("the stack limit is below 8 MiB");
  if (descend(256, true) < 0) victim::lost("frames of one MiB of stack");
  if (descend(6 * 256, false) < 0) victim::lost("frames of six MiB of stack");
  return victim::finish();
}
