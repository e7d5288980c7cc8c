// SPDX-License-Identifier: MIT
// 60,000 mappings, close to what the kernel allows: neighbours that cannot merge.
//
// Fidelity: memory | 60,000 mappings | kept
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t page = 4096, pages = 60'000;
  auto* memory =
      static_cast<unsigned char*>(mmap(nullptr, pages * page, PROT_READ | PROT_WRITE,
                                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED) victim::broken("mmap");
  for (size_t i = 0; i < pages; i += 100)
    memory[i * page] = static_cast<unsigned char>(i / 100 + 1);
  for (size_t i = 1; i < pages; i += 2)
    if (mprotect(memory + i * page, page, PROT_READ) != 0)
      victim::skip("vm.max_map_count is lower");
  victim::work_until_stop();
  size_t lines = 0;
  for (const char c : victim::slurp("/proc/self/maps")) lines += c == '\n';
  if (lines < pages) victim::lost("%zu mappings are left", lines);
  for (size_t i = 0; i < pages; ++i) {
    const unsigned char wanted = i % 100 == 0 ? static_cast<unsigned char>(i / 100 + 1) : 0;
    if (memory[i * page] != wanted) {
      victim::lost("page %zu", i);
      break;
    }
  }
  return victim::finish();
}
