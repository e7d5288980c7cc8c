// SPDX-License-Identifier: MIT
// Sealed memory files: the seals are there again, and so are mappings that were made before them.
//
// Fidelity: descriptors | seals of memory files, with mappings made before the seal | kept
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "victim.hpp"

#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x10
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif

static constexpr size_t page = 4096;

static int memory_file(const char* name, unsigned flags, uint64_t seed) {
  const int fd = memfd_create(name, flags);
  if (fd < 0) return -1;
  unsigned char content[4 * page];
  victim::fill(content, sizeof content, seed);
  if (write(fd, content, sizeof content) != static_cast<ssize_t>(sizeof content))
    victim::broken("write");
  return fd;
}
static unsigned char* map(int fd, int protection, int flags) {
  void* memory = mmap(nullptr, 4 * page, protection, flags, fd, 0);
  if (memory == MAP_FAILED) victim::broken("mmap");
  return static_cast<unsigned char*>(memory);
}

int main(int count, char** values) {
  victim::begin(count, values);
  const int plain = memory_file("no sealing", 0, 1);
  const int open = memory_file("not yet sealed", MFD_ALLOW_SEALING, 2);
  const int sealed = memory_file("sealed", MFD_ALLOW_SEALING, 3);
  unsigned char* own = map(sealed, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  own[3] = 33;
  const int all = F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
  if (fcntl(sealed, F_ADD_SEALS, all) != 0) victim::broken("F_ADD_SEALS");
  unsigned char* read_only = map(sealed, PROT_READ, MAP_SHARED);
  const int future = memory_file("future", MFD_ALLOW_SEALING, 4);
  unsigned char* before = map(future, PROT_READ | PROT_WRITE, MAP_SHARED);
  if (fcntl(future, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) != 0) victim::broken("F_SEAL_FUTURE_WRITE");
  const int exec = memory_file("never run", MFD_NOEXEC_SEAL, 5);
  const int exec_seals = exec < 0 ? 0 : fcntl(exec, F_GET_SEALS);
  victim::work_until_stop();

  victim::expect_equal("no sealing", F_SEAL_SEAL, static_cast<uint64_t>(fcntl(plain, F_GET_SEALS)));
  victim::expect_equal("not yet sealed", 0, static_cast<uint64_t>(fcntl(open, F_GET_SEALS)));
  if (fcntl(open, F_ADD_SEALS, F_SEAL_GROW) != 0) victim::lost("it can no longer be sealed");
  victim::expect_equal("sealed", static_cast<uint64_t>(all),
                       static_cast<uint64_t>(fcntl(sealed, F_GET_SEALS)));
  if (pwrite(sealed, "x", 1, 0) != -1 || errno != EPERM) victim::lost("a sealed file was written");
  if (ftruncate(sealed, 0) == 0) victim::lost("a sealed file was cut");
  victim::expect_filled("sealed, shared", read_only, 4 * page, 3);
  if (mprotect(read_only, page, PROT_READ | PROT_WRITE) == 0)
    victim::lost("a sealed file's mapping may be written");
  if (own[3] != 33 || own[4] != victim::pattern(3, 4)) victim::lost("private mapping");
  own[4] = 44;
  victim::expect_equal("F_SEAL_FUTURE_WRITE", F_SEAL_FUTURE_WRITE,
                       static_cast<uint64_t>(fcntl(future, F_GET_SEALS)));
  before[7] = 77;
  unsigned char seen = 0;
  if (pread(future, &seen, 1, 7) != 1 || seen != 77)
    victim::lost("a mapping made before the seal does not write the file");
  if (mmap(nullptr, page, PROT_READ | PROT_WRITE, MAP_SHARED, future, 0) != MAP_FAILED)
    victim::lost("a mapping after the seal");
  if (exec >= 0) {
    victim::expect_equal("MFD_NOEXEC_SEAL", static_cast<uint64_t>(exec_seals),
                         static_cast<uint64_t>(fcntl(exec, F_GET_SEALS)));
    if (fchmod(exec, 0777) == 0) victim::lost("it can be made executable");
  }
  return victim::finish();
}
