// SPDX-License-Identifier: MIT
// Threads that read the clock all the time: nearly every moment finds some inside the vDSO, where a
// machine with another kernel has other code.
//
// Fidelity: thread | inside a function of the vDSO | stepped out of it first; on a very busy machine it may be saved inside, and goes on with system calls
#include "threads.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr int threads = 4;
  pthread_t running[threads];
  for (auto& each : running)
    each = victim::start([] {
      victim::arrive();
      int64_t last = 0;
      while (victim::stopping == 0) {
        const int64_t now = victim::now();
        if (now < last) victim::lost("the clock has gone back");
        last = now;
      }
    });
  victim::gather(threads);
  victim::rest_until_stop();
  victim::tell_all();
  for (auto each : running) victim::join_well(each, "a thread");
  return victim::finish();
}
