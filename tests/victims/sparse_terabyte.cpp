// SPDX-License-Identifier: MIT
// Reservations of a tebibyte of which five pages are used: without a reservation of memory, and
// closed as the heaps of sanitizers and managed languages are until they grow.
//
// Fidelity: memory | reservations of 1 TiB | kept
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t tebibyte = size_t{1} << 40, page = 4096;
  const size_t used[] = {0, 12345 * page, tebibyte / 3 & ~(page - 1), tebibyte - 7 * page,
                         tebibyte - page};
  unsigned char* regions[2];
  for (int i = 0; i < 2; ++i) {
    regions[i] = static_cast<unsigned char*>(
        mmap(nullptr, tebibyte, i == 0 ? PROT_READ | PROT_WRITE : PROT_NONE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (regions[i] == MAP_FAILED) victim::skip("RLIMIT_AS or the kernel has no room for it");
    for (const size_t at : used) {
      if (i == 1) mprotect(regions[i] + at, page, PROT_READ | PROT_WRITE);
      victim::fill(regions[i] + at, page, at + static_cast<size_t>(i));
    }
  }
  victim::work_until_stop();
  for (int i = 0; i < 2; ++i) {
    for (const size_t at : used)
      victim::expect_filled("a used page", regions[i] + at, page, at + static_cast<size_t>(i));
    if (mprotect(regions[i] + 777 * page, page, PROT_READ | PROT_WRITE) != 0)
      victim::lost("mprotect within");
    for (size_t k = 0; k < page; ++k)
      if (regions[i][777 * page + k] != 0) victim::lost("a page that was never touched");
  }
  return victim::finish();
}
