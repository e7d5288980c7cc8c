// SPDX-License-Identifier: MIT
// Gets signals that carry the numbers from 0 to what its second argument says: each once, in order.
#include <signal.h>

#include "victim.hpp"

static constexpr int most = 100'000;
static volatile int seen[most];
static volatile int count;

static void hear(int, siginfo_t* info, void*) {
  if (count < most) seen[count] = info->si_value.sival_int;
  count = count + 1;
}

int main(int words, char** values) {
  victim::begin(words, values);
  int wanted = words > 2 ? atoi(values[2]) : 0;
  struct sigaction action {};
  action.sa_sigaction = hear;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  if (sigaction(40, &action, nullptr) != 0) victim::broken("sigaction");
  victim::work_until_stop();
  if (count != wanted) victim::lost("%d signals came instead of %d", count, wanted);
  for (int i = 0; i < wanted && i < count; ++i)
    if (seen[i] != i) victim::lost("signal %d carries %d", i, seen[i]);
  return victim::finish();
}
