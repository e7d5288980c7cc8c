// SPDX-License-Identifier: MIT
// A program that has unmapped its vDSO with its data, as sandboxes and checkpointers do. It keeps
// to plain system calls from then on.
//
// Fidelity: memory | a vDSO that was unmapped | kept
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const std::string maps = victim::slurp("/proc/self/maps");
  for (const char* name : {"[vvar]", "[vvar_vclock]", "[vdso]"}) {
    const size_t at = maps.find(name);
    if (at == std::string::npos) continue;
    unsigned long begin = 0, end = 0;
    if (sscanf(maps.c_str() + maps.rfind('\n', at) + 1, "%lx-%lx", &begin, &end) != 2 ||
        munmap(reinterpret_cast<void*>(begin), end - begin) != 0)
      victim::skip("the vDSO cannot be unmapped here");
  }
  victim::work_until_stop();
  const std::string after = victim::slurp("/proc/self/maps");
  for (const char* name : {"[vvar", "[vdso]"})
    if (after.find(name) != std::string::npos) victim::lost("%s has come back", name);
  timespec time{};
  if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &time) != 0) victim::lost("the clock");
  return victim::finish();
}
