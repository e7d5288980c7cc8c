// SPDX-License-Identifier: MIT
//
// How much of the program's stack a checkpoint uses. The trigger is delivered on an alternate
// stack that is painted first; an empty handler on the same stack shows what the kernel's own
// frame takes. The difference is the agent's.
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

namespace {

constexpr std::size_t size = 256 * 1024;
constexpr unsigned char paint = 0xa5;
constexpr long allowed = 64;  // bytes of the program's stack for the agent
alignas(64) unsigned char alternate[size];

void empty_handler(int, siginfo_t*, void*) {}

long used_by(int signal) {
  memset(alternate, paint, size);
  raise(signal);
  std::size_t untouched = 0;
  while (untouched < size && alternate[untouched] == paint) ++untouched;
  return static_cast<long>(size - untouched);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  stack_t stack{};
  stack.ss_sp = alternate;
  stack.ss_size = size;
  if (sigaltstack(&stack, nullptr) != 0) return 2;
  struct sigaction action {};
  action.sa_sigaction = &empty_handler;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  if (sigaction(SIGUSR2, &action, nullptr) != 0) return 2;

  const long kernels = used_by(SIGUSR2);
  const long whole = used_by(SIGUSR1);  // the trigger
  if (access(argv[1], F_OK) != 0) {
    printf("no checkpoint was made\n");
    return 1;
  }
  printf("kernel's frame %ld bytes, the agent %ld bytes of the program's stack (at most %ld)\n",
         kernels, whole - kernels, allowed);
  return whole - kernels <= allowed && whole >= kernels ? 0 : 1;
}
