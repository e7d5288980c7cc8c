// SPDX-License-Identifier: MIT
// Private memory of every protection: contents and protection are kept, for the pages that cannot
// be read, too, and for a large region of which one page was touched.
//
// Fidelity: memory | every protection: none, write-only, execute-only | kept
#include <sys/mman.h>

#include "victim.hpp"

struct region {
  const char* name;
  int protection;
  const char* permissions;
  unsigned char* memory;
};

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 5 * 4096;
  region regions[] = {
      {"PROT_NONE", PROT_NONE, "---p", nullptr},
      {"PROT_READ", PROT_READ, "r--p", nullptr},
      {"PROT_WRITE", PROT_WRITE, "-w-p", nullptr},
      {"PROT_EXEC", PROT_EXEC, "--xp", nullptr},
      {"read and write", PROT_READ | PROT_WRITE, "rw-p", nullptr},
      {"read and execute", PROT_READ | PROT_EXEC, "r-xp", nullptr},
      {"all", PROT_READ | PROT_WRITE | PROT_EXEC, "rwxp", nullptr},
  };
  const unsigned char code[] = {0xb8, 0x2a, 0, 0, 0, 0xc3};  // mov $42, %eax; ret
  uint64_t seed = 10;
  for (region& each : regions) {
    // A page of nothing on either side, so that neighbours do not merge.
    auto* memory = static_cast<unsigned char*>(
        mmap(nullptr, length + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (memory == MAP_FAILED) victim::broken("mmap");
    each.memory = memory + 4096;
    munmap(memory, 4096);
    munmap(each.memory + length, 4096);
    mprotect(each.memory, length, PROT_READ | PROT_WRITE);
    victim::fill(each.memory, length, seed++);
    memset(each.memory + 4096, 0, 4096);  // a page of zeroes that was written
    memcpy(each.memory, code, sizeof code);
    if (mprotect(each.memory, length, each.protection) != 0) {
      if (each.protection == (PROT_READ | PROT_WRITE | PROT_EXEC)) {
        each.memory = nullptr;  // a system that forbids writable code
        continue;
      }
      victim::broken("mprotect");
    }
  }
  auto* guarded = static_cast<unsigned char*>(
      mmap(nullptr, 1 << 30, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (guarded == MAP_FAILED) victim::broken("mmap");
  mprotect(guarded + (512 << 20), 4096, PROT_READ | PROT_WRITE);
  victim::fill(guarded + (512 << 20), 4096, 50);
  victim::work_until_stop();

  seed = 10;
  for (const region& each : regions) {
    uint64_t mine = seed++;
    if (!each.memory) continue;
    victim::mapping found = victim::mapping_of(each.memory);
    if (found.permissions != each.permissions)
      victim::lost("%s: %s instead of %s", each.name, found.permissions.c_str(), each.permissions);
    if (each.protection & PROT_EXEC && found.permissions == each.permissions &&
        reinterpret_cast<int (*)()>(each.memory)() != 42)
      victim::lost("%s: the code in it", each.name);
    if (mprotect(each.memory, length, PROT_READ) != 0) {
      victim::lost("%s: not mapped", each.name);
      continue;
    }
    if (memcmp(each.memory, code, sizeof code) != 0) victim::lost("%s: its first bytes", each.name);
    for (size_t i = sizeof code; i < length; ++i) {
      unsigned char wanted = i / 4096 == 1 ? 0 : victim::pattern(mine, i);
      if (each.memory[i] != wanted) {
        victim::lost("%s: byte %zu", each.name, i);
        break;
      }
    }
  }
  victim::mapping none = victim::mapping_of(guarded);
  victim::expect_equal("reserved address space", reinterpret_cast<uintptr_t>(guarded) + (512 << 20),
                       none.end);
  if (none.permissions != "---p")
    victim::lost("reserved address space: %s", none.permissions.c_str());
  victim::expect_filled("page inside it", guarded + (512 << 20), 4096, 50);
  return victim::finish();
}
