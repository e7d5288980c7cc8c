// SPDX-License-Identifier: MIT
// Guard pages of MADV_GUARD_INSTALL, which /proc/PID/maps does not show: in anonymous memory, in a
// mapped file, beside data, in memory that was never touched.
//
// Fidelity: memory | guard pages (MADV_GUARD_INSTALL) | kept; on a kernel without them by protection
#include <fcntl.h>
#include <sys/mman.h>

#include "touching.hpp"
#include "victim.hpp"

namespace {
constexpr size_t page = 4096, length = 64 * page;
constexpr int guard_install = 102;
bool is_guard(size_t i) {
  return i == 3 || i == 4 || i == 17 || i >= 62;
}
}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  victim::expect_faults();
  const int fd = open("guarded.bin", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  std::string content(length, 'x');
  if (fd < 0 || write(fd, content.data(), length) != static_cast<ssize_t>(length))
    victim::broken("guarded.bin");
  unsigned char* regions[] = {
      static_cast<unsigned char*>(
          mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
      static_cast<unsigned char*>(
          mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)),
      static_cast<unsigned char*>(mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd, 0)),
  };
  close(fd);
  victim::fill(regions[0], length, 3);
  for (unsigned char* region : regions) {
    if (region == MAP_FAILED) victim::broken("mmap");
    for (size_t i = 0; i < length / page; ++i)
      if (is_guard(i) && madvise(region + i * page, page, guard_install) != 0) {
        if (region == regions[2]) {
          regions[2] = nullptr;  // in files only since 6.15
          break;
        }
        victim::skip("this kernel has no guard pages");
      }
  }
  victim::work_until_stop();
  for (unsigned char* region : regions)
    for (size_t i = 0; region && i < length / page; ++i) {
      const int got = victim::touch(region + i * page);
      // A kernel without guards at the restart protects the pages instead.
      const bool code_fits = victim::fault_code == SEGV_MAPERR || victim::fault_code == SEGV_ACCERR;
      if (is_guard(i) ? got != SIGSEGV || !code_fits : got != 0)
        victim::lost("page %zu of region %zu: a touch gives signal %d", i,
                     static_cast<size_t>(&region - regions), got);
      if (is_guard(i) || got != 0) continue;
      for (size_t k = 0; k < page; ++k) {
        const unsigned char wanted = region == regions[0]   ? victim::pattern(3, i * page + k)
                                     : region == regions[1] ? 0
                                                            : 'x';
        if (region[i * page + k] != wanted) {
          victim::lost("page %zu of a region", i);
          break;
        }
      }
    }
  return victim::finish();
}
