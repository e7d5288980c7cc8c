// SPDX-License-Identifier: MIT
// Checkpointed while a handler runs on the alternate stack: the frames below it are intact, and
// returning through them brings the interrupted code's registers and mask back.
//
// Fidelity: signals | alternate stack in use at the moment of the trigger | kept
#include <signal.h>

#include "victim.hpp"

static unsigned char area[128 * 1024];

static void handler(int) {
  unsigned char frame[4096];
  victim::fill(frame, sizeof frame, 3);
  victim::work_until_stop();
  victim::expect_filled("frame on the alternate stack", frame, sizeof frame, 3);
  stack_t now{};
  sigaltstack(nullptr, &now);
  victim::expect_equal("ss_flags in the handler", SS_ONSTACK, static_cast<uint64_t>(now.ss_flags));
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
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, nullptr);
  unsigned char frame[4096];
  victim::fill(frame, sizeof frame, 4);
  raise(SIGUSR1);
  victim::expect_filled("frame of the interrupted function", frame, sizeof frame, 4);
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  if (sigismember(&mask, SIGUSR1) || sigismember(&mask, SIGUSR2))
    victim::lost("the handler's mask stays after its return");
  return victim::finish();
}
