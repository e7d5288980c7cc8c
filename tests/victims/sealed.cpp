// SPDX-License-Identifier: MIT
// Mappings that mseal(2) has closed against change stay as they are and stay closed.
//
// Fidelity: memory | sealed mappings (mseal) | kept; refused at the restart on a kernel without mseal
#include <sys/mman.h>
#include <sys/syscall.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 4 * 4096;
  constexpr long mseal = 462;
  struct region {
    const char* name;
    int protection;
    unsigned char* memory;
  } regions[] = {{"writable", PROT_READ | PROT_WRITE, nullptr},
                 {"read-only", PROT_READ, nullptr},
                 {"closed", PROT_NONE, nullptr}};
  for (region& r : regions) {
    r.memory = static_cast<unsigned char*>(
        mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (r.memory == MAP_FAILED) victim::broken("mmap");
    victim::fill(r.memory, length, 8);
    mprotect(r.memory, length, r.protection);
    if (syscall(mseal, r.memory, length, 0) != 0) victim::skip("this kernel has no mseal");
  }
  victim::work_until_stop();
  for (const region& r : regions) {
    if (mprotect(r.memory, length, PROT_READ | PROT_WRITE) == 0 || errno != EPERM)
      victim::lost("%s: not sealed against mprotect", r.name);
    if (munmap(r.memory, length) == 0) victim::lost("%s: not sealed against munmap", r.name);
    if (r.protection != PROT_NONE) victim::expect_filled(r.name, r.memory, length, 8);
  }
  regions[0].memory[5] = 1;
  return victim::finish();
}
