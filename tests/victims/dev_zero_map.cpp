// SPDX-License-Identifier: MIT
// Private mappings of /dev/zero: anonymous memory as programs made it before MAP_ANONYMOUS.
//
// Fidelity: memory | private mappings of /dev/zero | kept
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const int fd = open("/dev/zero", O_RDWR | O_CLOEXEC);
  constexpr size_t length = 64 * 4096;
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096));
  if (fd < 0 || memory == MAP_FAILED) victim::broken("/dev/zero");
  close(fd);
  victim::fill(memory + 4096, 8 * 4096, 2);
  victim::work_until_stop();
  victim::expect_filled("what was written", memory + 4096, 8 * 4096, 2);
  for (size_t i = 9 * 4096; i < length; ++i)
    if (memory[i] != 0) victim::lost("byte %zu", i);
  memory[length - 1] = 1;
  return victim::finish();
}
