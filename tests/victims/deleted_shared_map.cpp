// SPDX-License-Identifier: MIT
// Files without a name that are mapped shared, with a descriptor and without, on a disk and in
// /dev/shm: one file again, whichever way it is written.
//
// Fidelity: memory | shared mappings of deleted files, writable, with and without a descriptor, opened more than once | kept
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "victim.hpp"

static constexpr size_t page = 4096;
static constexpr size_t length = 6 * page + 50;

struct unnamed {
  int fd;
  unsigned char* memory;
};

static unnamed make(const std::string& name, uint64_t seed) {
  unsigned char content[length];
  victim::fill(content, length, seed);
  const int fd = open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0604);
  if (fd < 0 || write(fd, content, length) != static_cast<ssize_t>(length))
    victim::broken(name.c_str());
  void* memory = mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return {fd, static_cast<unsigned char*>(memory)};
}

int main(int count, char** values) {
  victim::begin(count, values);
  const unnamed disk = make("gone.bin", 1);
  const int again = open("gone.bin", O_RDONLY);
  unlink("gone.bin");
  const unnamed closed = make("closed.bin", 2);
  close(closed.fd);
  unlink("closed.bin");
  const std::string name = "/dev/shm/ckpt-victim-" + std::to_string(getpid());
  const bool have_shm = access("/dev/shm", W_OK) == 0;
  unnamed segment{-1, nullptr};
  if (have_shm) {
    segment = make(name, 3);
    close(segment.fd);
    unlink(name.c_str());
  }
  victim::work_until_stop();

  victim::expect_filled("with a descriptor", disk.memory, length, 1);
  disk.memory[10] = 99;
  unsigned char seen = 0;
  if (pread(disk.fd, &seen, 1, 10) != 1 || seen != 99) victim::lost("memory and descriptor differ");
  if (pread(again, &seen, 1, 10) != 1 || seen != 99) victim::lost("two open files of it differ");
  if (pwrite(disk.fd, "z", 1, page) != 1 || disk.memory[page] != 'z')
    victim::lost("descriptor and memory differ");
  struct stat st {};
  fstat(disk.fd, &st);
  victim::expect_equal("size", length, static_cast<uint64_t>(st.st_size));
  victim::expect_equal("mode", 0604, st.st_mode & 0777u);
  victim::expect_equal("links", 0, st.st_nlink);
  victim::expect_filled("without a descriptor", closed.memory, length, 2);
  closed.memory[0] ^= 1;
  if (victim::mapping_of(closed.memory).permissions != "rw-s") victim::lost("no longer shared");
  if (have_shm) {
    victim::expect_filled("/dev/shm", segment.memory, length, 3);
    if (victim::mapping_of(segment.memory).permissions != "rw-s")
      victim::lost("/dev/shm: no longer shared");
  }
  return victim::finish();
}
