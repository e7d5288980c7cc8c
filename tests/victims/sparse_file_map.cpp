// SPDX-License-Identifier: MIT
// Mappings of files of a terabyte that are almost all hole: only their data are read and stored.
//
// Fidelity: memory | mappings of sparse files of any size, private and shared | kept, holes too
#include <fcntl.h>
#include <sys/mman.h>

#include "victim.hpp"

static constexpr size_t page = 4096;
static constexpr size_t terabyte = size_t{1} << 40;

static int make(const char* name) {
  const int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0) victim::broken(name);
  if (ftruncate(fd, terabyte) != 0) victim::skip("no files of a terabyte here");
  unsigned char content[page];
  victim::fill(content, page, 1);
  if (pwrite(fd, content, page, terabyte / 2) != page) victim::broken("pwrite");
  return fd;
}
static unsigned char* map(int fd, int protection, int flags) {
  void* memory = mmap(nullptr, terabyte, protection, flags | MAP_NORESERVE, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}

int main(int count, char** values) {
  victim::begin(count, values);
  unsigned char* own = map(make("private.bin"), PROT_READ | PROT_WRITE, MAP_PRIVATE);
  victim::fill(own + terabyte / 4, page, 2);
  victim::fill(own + terabyte / 2 + page, page, 3);
  unsigned char* shared = map(make("shared.bin"), PROT_READ | PROT_WRITE, MAP_SHARED);
  victim::fill(shared + terabyte - page, page, 4);
  make("read.bin");
  unsigned char* read_only = map(open("read.bin", O_RDONLY), PROT_READ, MAP_SHARED);
  victim::work_until_stop();
  victim::expect_filled("private, from the file", own + terabyte / 2, page, 1);
  victim::expect_filled("private, in a hole", own + terabyte / 4, page, 2);
  victim::expect_filled("private, behind the file's page", own + terabyte / 2 + page, page, 3);
  if (own[0] != 0 || own[terabyte - 1] != 0) victim::lost("a hole");
  victim::expect_filled("shared, from the file", shared + terabyte / 2, page, 1);
  victim::expect_filled("shared", shared + terabyte - page, page, 4);
  victim::expect_filled("read only", read_only + terabyte / 2, page, 1);
  if (read_only[5] != 0 || shared[5] != 0) victim::lost("a hole of a shared mapping");
  return victim::finish();
}
