// SPDX-License-Identifier: MIT
// sigtimedwait for a signal that nobody sends: EAGAIN at the end, never EINTR.
#include <signal.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "sigtimedwait", [] {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, nullptr);
    timespec time = victim::nap_spec();
    siginfo_t info{};
    return sigtimedwait(&set, &info, &time) == -1 && errno == EAGAIN;
  });
}
