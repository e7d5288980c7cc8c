// SPDX-License-Identifier: MIT
// An alternate signal stack with next to no room beside the kernel's own frame: the trigger is taken
// on it, so the agent may use a few bytes there and no more. What lies below it stays as it is.
//
// Fidelity: signals | an alternate stack of AT_MINSIGSTKSZ plus 512 bytes: the trigger fits | kept
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "victim.hpp"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

static volatile int handled;
static void handler(int) { handled = handled + 1; }

int main(int count, char** values) {
  victim::begin(count, values);
  size_t least = getauxval(AT_MINSIGSTKSZ);
  if (least == 0) victim::skip("the kernel does not say how much a signal frame takes");
  // Its lowest byte follows a page that nobody may write, and a filled one above it.
  const size_t size = least + 512, room = (size + 4095) / 4096 * 4096;
  auto* area = static_cast<unsigned char*>(
      mmap(nullptr, 4096 + room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (area == MAP_FAILED) victim::broken("mmap");
  mprotect(area, 4096, PROT_NONE);
  victim::fill(area + 4096 + size, room - size + 4096, 31);
  stack_t stack{};
  stack.ss_sp = area + 4096;
  stack.ss_size = size;
  if (sigaltstack(&stack, nullptr) != 0) victim::broken("sigaltstack");
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR1, &action, nullptr);
  victim::work_until_stop();

  victim::expect_filled("what follows the stack", area + 4096 + size, room - size + 4096, 31);
  raise(SIGUSR1);
  victim::expect_equal("the handler's runs", 1, static_cast<uint64_t>(handled));
  stack_t after{};
  sigaltstack(nullptr, &after);
  victim::expect_equal("ss_size", size, after.ss_size);
  return victim::finish();
}
