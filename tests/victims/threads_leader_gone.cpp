// SPDX-License-Identifier: MIT
// The first thread has ended by pthread_exit; the others are the program.
//
// Fidelity: thread | a first thread that has ended while others run on | kept
#include "threads.hpp"

namespace {

std::atomic<uint64_t> steps[3];

std::string state_of_first() {
  const std::string text =
      victim::slurp(("/proc/self/task/" + std::to_string(getpid()) + "/status").c_str());
  const size_t at = text.find("State:");
  return text.substr(at + 7, 1);
}

/// An exiting thread lets others go on (a join, the start of a restarted program) some time before
/// the kernel counts it as ended.
void wait_until_first_has_ended() {
  for (int tries = 0; state_of_first() != "Z"; ++tries) {
    if (tries == 10000) victim::lost("the first thread is %s", state_of_first().c_str());
    usleep(500);
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  static pthread_t first = pthread_self();
  static pthread_t running[3];
  static const pid_t self = getpid();
  for (int i = 0; i < 3; ++i)
    running[i] = victim::start([i] {
      while (victim::stopping == 0) ++steps[i];
      return reinterpret_cast<void*>(static_cast<uintptr_t>(i + 1));
    });
  victim::start([] {
    // It can be joined like any other, and stays a zombie then as well.
    victim::join(first, "the first thread");
    wait_until_first_has_ended();
    victim::rest_until_stop();
    if (getpid() != self) victim::lost("the process id");
    wait_until_first_has_ended();
    for (auto& each : steps) {
      const uint64_t before = each;
      for (int tries = 0; each == before && tries < 5000; ++tries) usleep(1000);
      if (each == before) victim::lost("a thread does not go on");
    }
    victim::tell_all();
    for (uintptr_t i = 0; i < 3; ++i)
      victim::expect_equal("what a thread returns", i + 1,
                           reinterpret_cast<uintptr_t>(victim::join(running[i], "a thread")));
    exit(victim::finish());
  });
  pthread_exit(nullptr);
}
