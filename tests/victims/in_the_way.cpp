// SPDX-License-Identifier: MIT
// A program that has mapped nearly everything below the highest addresses, where the restarter
// would like to sit, and leaves only a few holes of which one is large enough.
//
// Fidelity: memory | a program that occupies the place of the restarter | kept
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr uint64_t limit = 0x145000000000, hole = 0x7f0000000, hole_size = 64 << 20;
  struct part {
    uint64_t begin, end;
  };
  const part parts[] = {
      {0x10000000, hole}, {hole + hole_size, 0x100000000000}, {0x100000010000, limit + 0x10000000}};
  unsigned blocks = 0;
  for (const part& p : parts) {
    void* at = mmap(reinterpret_cast<void*>(p.begin), p.end - p.begin, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (at == MAP_FAILED) continue;
    auto* bytes = static_cast<unsigned char*>(at);
    mprotect(bytes, 4096, PROT_READ | PROT_WRITE);
    victim::fill(bytes, 4096, p.begin);
    ++blocks;
  }
  if (blocks == 0) victim::skip("nothing can be mapped there");
  const std::string before = victim::slurp("/proc/self/maps");
  victim::work_until_stop();
  for (const part& p : parts) {
    const auto found = victim::mapping_of(reinterpret_cast<void*>(p.begin + 4096));
    if (found.end < p.end) victim::lost("the mapping at %#lx ends at %#lx", p.begin, found.end);
    if (found.end != 0)
      victim::expect_filled("its first page", reinterpret_cast<void*>(p.begin), 4096, p.begin);
  }
  return victim::finish();
}
