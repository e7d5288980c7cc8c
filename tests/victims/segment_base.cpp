// SPDX-License-Identifier: MIT
// fs base (thread-local storage, the stack protector's canary) and gs base, which is the program's.
//
// Fidelity: registers | FS and GS base: thread-local storage, stack protector | kept
#include <asm/prctl.h>
#include <sys/syscall.h>

#include "victim.hpp"

static thread_local uint64_t local_value = 0x1111;
static thread_local int local_zero;
static uint64_t gs_area[64];

static uint64_t canary() {
  uint64_t value;
  asm volatile("mov %%fs:0x28, %0" : "=r"(value));
  return value;
}

int main(int count, char** values) {
  victim::begin(count, values);
  unsigned long fs = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
  gs_area[5] = 0x5555aaaa5555aaaa;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area) != 0) victim::broken("ARCH_SET_GS");
  uint64_t guard = canary();
  local_value = 0x2222;
  local_zero = 7;
  errno = 42;
  victim::ready();
  while (access(victim::stop_file, F_OK) != 0) victim::compute();

  unsigned long fs_after = 0, gs_after = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &fs_after);
  syscall(SYS_arch_prctl, ARCH_GET_GS, &gs_after);
  victim::expect_equal("fs base", fs, fs_after);
  victim::expect_equal("gs base", reinterpret_cast<uintptr_t>(gs_area), gs_after);
  uint64_t through_gs;
  asm volatile("mov %%gs:40, %0" : "=r"(through_gs));
  victim::expect_equal("value through gs", gs_area[5], through_gs);
  victim::expect_equal("thread-local value", 0x2222, local_value);
  victim::expect_equal("thread-local zero", 7, static_cast<uint64_t>(local_zero));
  victim::expect_equal("stack canary", guard, canary());
  return victim::finish();
}
