// SPDX-License-Identifier: MIT
// Files that are mapped shared: what the program writes through the mapping is in the file, what is
// written to the file is seen in the mapping, of whichever part, before and after.
//
// Fidelity: memory | shared mappings of files, writable or of a file open for writing | kept; a file changed since is kept beside as NAME.after-ckpt before its saved bytes go back, `--files=keep` maps it as it is
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.hpp"

static constexpr size_t page = 4096;

static int make(const char* name, size_t length, uint64_t seed) {
  auto* content = static_cast<unsigned char*>(malloc(length));
  victim::fill(content, length, seed);
  const int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, content, length) != static_cast<ssize_t>(length)) victim::broken(name);
  free(content);
  return fd;
}
static unsigned char* map(int fd, size_t length, int protection, off_t offset = 0) {
  void* memory = mmap(nullptr, length, protection, MAP_SHARED, fd, offset);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}
static unsigned char in_file(const char* name, off_t offset) {
  const int fd = open(name, O_RDONLY);
  unsigned char seen = 0;
  if (fd < 0 || pread(fd, &seen, 1, offset) != 1) victim::lost("cannot read %s", name);
  close(fd);
  return seen;
}

int main(int count, char** values) {
  victim::begin(count, values);
  // The descriptor is closed, one is kept, one part is mapped twice, one page is beyond the end.
  int fd = make("closed.bin", 8 * page + 10, 1);
  unsigned char* closed = map(fd, 12 * page, PROT_READ | PROT_WRITE);
  close(fd);
  const int kept = make("kept.bin", 8 * page, 2);
  unsigned char* part = map(kept, 2 * page, PROT_READ | PROT_WRITE, 4 * page);
  unsigned char* twice = map(kept, 3 * page, PROT_READ, 3 * page);
  // Databases read through a mapping and write by pwrite.
  const int writer = make("reader.bin", 4 * page, 3);
  fd = open("reader.bin", O_RDONLY);
  unsigned char* reader = map(fd, 4 * page, PROT_READ);
  close(fd);
  fd = make("others.bin", 4 * page, 4);
  close(fd);
  fd = open("others.bin", O_RDONLY);
  unsigned char* others = map(fd, 4 * page, PROT_READ);
  close(fd);
  unsigned changes = 0;
  victim::ready();
  while (!victim::stop_requested()) {
    ++changes;
    memcpy(closed + 100, &changes, sizeof changes);
    memcpy(part + 200, &changes, sizeof changes);
    if (pwrite(writer, &changes, sizeof changes, page) != sizeof changes) victim::broken("pwrite");
    if (memcmp(reader + page, &changes, sizeof changes) != 0) {
      victim::lost("a write is not seen in the mapping");
      break;
    }
    if (memcmp(twice + page + 200, &changes, sizeof changes) != 0) {
      victim::lost("a write to one mapping is not seen in the other");
      break;
    }
  }
  unsigned seen = 0;
  for (unsigned i = 0; i < sizeof seen; ++i)
    reinterpret_cast<unsigned char*>(&seen)[i] = in_file("closed.bin", 100 + i);
  victim::expect_equal("in the file", changes, seen);
  if (pread(kept, &seen, sizeof seen, 4 * page + 200) != sizeof seen) victim::lost("kept.bin");
  victim::expect_equal("in the file, by its descriptor", changes, seen);
  for (size_t i = 200; i < 8 * page + 10; ++i)
    if (closed[i] != victim::pattern(1, i)) {
      victim::lost("byte %zu of the mapping", i);
      break;
    }
  if (victim::mapping_of(closed).permissions != "rw-s") victim::lost("no longer shared");
  if (victim::mapping_of(others).permissions != "r--s") victim::lost("a reader: no longer shared");
  fd = open("others.bin", O_WRONLY);
  if (pwrite(fd, "!", 1, 50) != 1 || others[50] != '!')
    victim::lost("what others write to a file is not seen");
  const unsigned char before = victim::pattern(4, 50);
  if (pwrite(fd, &before, 1, 50) != 1) victim::broken("pwrite");  // for the next restart
  close(fd);
  return victim::finish();
}
