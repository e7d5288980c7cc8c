// SPDX-License-Identifier: MIT
// A shared mapping of a file that may only be read, as glibc's gconv cache is one in many programs.
//
// Fidelity: memory | shared mappings of files that the program only reads | the file again where it still has those bytes, otherwise a private copy of what it had
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 3 * 4096 + 100;
  unsigned char content[length];
  victim::fill(content, length, 1);
  int fd = open("shared.bin", O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, content, length) != static_cast<ssize_t>(length))
    victim::broken("shared.bin");
  close(fd);
  fd = open("shared.bin", O_RDONLY);
  auto* memory = static_cast<unsigned char*>(mmap(nullptr, length, PROT_READ, MAP_SHARED, fd, 0));
  close(fd);
  if (memory == MAP_FAILED) victim::broken("mmap");
  unsigned char first = memory[0];
  victim::work_until_stop();
  victim::expect_equal("first byte", first, memory[0]);
  victim::expect_filled("shared mapping", memory, length, 1);
  return victim::finish();
}
