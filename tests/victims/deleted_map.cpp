// SPDX-License-Identifier: MIT
// Mappings of files that are gone, or that another file has replaced: the memory is in the image.
//
// Fidelity: memory | mappings of deleted and replaced files | kept
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.hpp"

static unsigned char* map_file(const char* name, uint64_t seed, int flags) {
  constexpr size_t length = 4 * 4096;
  unsigned char content[length];
  victim::fill(content, length, seed);
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, content, length) != static_cast<ssize_t>(length)) victim::broken(name);
  close(fd);
  fd = open(name, O_RDONLY);
  void* memory = mmap(nullptr, length, PROT_READ, flags, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}

int main(int count, char** values) {
  victim::begin(count, values);
  unsigned char* gone = map_file("gone.bin", 1, MAP_PRIVATE);
  unsigned char* gone_shared = map_file("gone-shared.bin", 2, MAP_SHARED);
  unsigned char* replaced = map_file("replaced.bin", 3, MAP_PRIVATE);
  unlink("gone.bin");
  unlink("gone-shared.bin");
  unsigned char* other = map_file("other.bin", 4, MAP_PRIVATE);
  if (rename("other.bin", "replaced.bin") != 0) victim::broken("rename");
  victim::work_until_stop();
  victim::expect_filled("mapping of a deleted file", gone, 4 * 4096, 1);
  victim::expect_filled("shared mapping of a deleted file", gone_shared, 4 * 4096, 2);
  victim::expect_filled("mapping of a replaced file", replaced, 4 * 4096, 3);
  victim::expect_filled("mapping of a renamed file", other, 4 * 4096, 4);
  return victim::finish();
}
