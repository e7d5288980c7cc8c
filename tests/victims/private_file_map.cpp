// SPDX-License-Identifier: MIT
// A private mapping of a file, with pages that were changed, pages that were not, and pages past
// the end of the file, where there is nothing to read.
//
// Fidelity: memory | private mappings of files | kept with loss: anonymous memory with the same bytes; later changes of the file do not show
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "victim.hpp"

static sigjmp_buf back;
static void fault(int) {
  siglongjmp(back, 1);
}

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 10'000;
  unsigned char content[length];
  victim::fill(content, length, 1);
  int fd = open("mapped.bin", O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, content, length) != static_cast<ssize_t>(length))
    victim::broken("mapped.bin");
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  auto* offset = static_cast<unsigned char*>(mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 4096));
  close(fd);
  if (memory == MAP_FAILED || offset == MAP_FAILED) victim::broken("mmap");
  memory[100] = 0xaa;
  memory[length + 50] = 0xbb;  // after the end of the file, in its last page
  victim::work_until_stop();

  for (size_t i = 0; i < 3 * 4096; ++i) {
    unsigned char wanted = i == 100 ? 0xaa : i == length + 50 ? 0xbb : i < length ? content[i] : 0;
    if (memory[i] != wanted) {
      victim::lost("byte %zu is %02x instead of %02x", i, memory[i], wanted);
      break;
    }
  }
  if (memcmp(offset, content + 4096, 4096) != 0) victim::lost("the mapping at offset 4096");
  victim::mapping beyond = victim::mapping_of(memory + 5 * 4096);
  if (beyond.permissions != "rw-p")
    victim::lost("pages past the end: '%s'", beyond.permissions.c_str());
  signal(SIGBUS, fault);
  signal(SIGSEGV, fault);
  if (sigsetjmp(back, 1) == 0) {
    // A fault is right; memory that exists now must at least hold nothing of anybody's.
    for (size_t i = 3 * 4096; i < 8 * 4096; ++i)
      if (static_cast<volatile unsigned char*>(memory)[i] != 0) {
        victim::lost("pages past the end hold something");
        break;
      }
  }
  return victim::finish();
}
