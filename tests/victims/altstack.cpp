// SPDX-License-Identifier: MIT
// The alternate signal stack: still registered, still used, with its flags.
//
// Fidelity: signals | alternate signal stack | kept
#include <signal.h>

#include "victim.hpp"

static unsigned char area[64 * 1024];
static volatile bool inside;

static void handler(int) {
  unsigned char here;
  inside = &here >= area && &here < area + sizeof area;
}

int main(int count, char** values) {
  victim::begin(count, values);
  stack_t stack{};
  stack.ss_sp = area;
  stack.ss_size = sizeof area;
  if (sigaltstack(&stack, nullptr) != 0) victim::broken("sigaltstack");
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  victim::work_until_stop();

  stack_t after{};
  sigaltstack(nullptr, &after);
  victim::expect_equal("ss_sp", reinterpret_cast<uintptr_t>(area),
                       reinterpret_cast<uintptr_t>(after.ss_sp));
  victim::expect_equal("ss_size", sizeof area, after.ss_size);
  victim::expect_equal("ss_flags", 0, static_cast<uint64_t>(after.ss_flags));
  raise(SIGUSR1);
  if (!inside) victim::lost("the handler did not run on the alternate stack");
  return victim::finish();
}
