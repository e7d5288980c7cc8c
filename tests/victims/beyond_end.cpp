// SPDX-License-Identifier: MIT
// A mapping that goes on behind the end of its file: up to the end its bytes, behind it SIGBUS. The
// file is gone and another has its name. One mapping lies behind the end as a whole, one is huge.
//
// Fidelity: memory | a mapping behind the end of its file: SIGBUS | kept
#include <fcntl.h>
#include <sys/mman.h>

#include "touching.hpp"
#include "victim.hpp"

namespace {
constexpr size_t page = 4096;
}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  victim::expect_faults();
  const int fd = open("short.bin", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  constexpr size_t size = 5 * page + 100;
  std::string content(size, '\0');
  victim::fill(content.data(), size, 11);
  if (fd < 0 || write(fd, content.data(), size) != static_cast<ssize_t>(size))
    victim::broken("short.bin");
  const int readable = open("short.bin", O_RDONLY | O_CLOEXEC);
  const auto map = [&](size_t length, int protection, int flags, off_t offset) {
    void* at = mmap(nullptr, length, protection, flags, readable, offset);
    if (at == MAP_FAILED) victim::broken("mmap");
    return static_cast<unsigned char*>(at);
  };
  constexpr size_t huge = size_t{1} << 36;
  unsigned char* whole = map(16 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE, 0);
  unsigned char* shared = map(16 * page, PROT_READ, MAP_SHARED, 0);
  unsigned char* behind = map(4 * page, PROT_READ, MAP_PRIVATE, 64 * page);
  unsigned char* vast = map(huge, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, 0);
  close(fd);
  close(readable);
  unlink("short.bin");
  const int other = open("short.bin", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (other < 0 || ftruncate(other, 64 * page) != 0) victim::broken("another short.bin");
  close(other);
  whole[page] = 0x5a;
  victim::work_until_stop();

  for (unsigned char* region : {whole, shared, vast}) {
    for (size_t i = 0; i < size; ++i) {
      const unsigned char wanted = region == whole && i == page ? 0x5a : victim::pattern(11, i);
      if (region[i] != wanted) {
        victim::lost("byte %zu of a mapping", i);
        break;
      }
    }
    for (size_t i = size; i < 6 * page; ++i)
      if (region[i] != 0) victim::lost("the rest of the last page");
    for (size_t i = 6; i < 16; ++i)
      if (const int got = victim::touch(region + i * page, false); got != SIGBUS)
        victim::lost("page %zu behind the end: signal %d", i, got);
  }
  if (const int got = victim::touch(whole + 9 * page, true); got != SIGBUS)
    victim::lost("a write behind the end: signal %d", got);
  if (const int got = victim::touch(vast + huge - 1, false); got != SIGBUS)
    victim::lost("the last byte of the huge mapping: signal %d", got);
  for (size_t i = 0; i < 4; ++i)
    if (const int got = victim::touch(behind + i * page, false); got != SIGBUS)
      victim::lost("page %zu of the mapping behind the end: signal %d", i, got);
  return victim::finish();
}
