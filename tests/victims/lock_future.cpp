// SPDX-License-Identifier: MIT
// mlockall: what is there is locked, and so is what comes, at once or when it is touched. The limit
// is tight: ckpt may not need any of it.
//
// Fidelity: memory | mlockall(MCL_FUTURE, MCL_ONFAULT) | kept
#include <sys/mman.h>
#include <sys/resource.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const bool on_fault = getpid() % 2 == 0;
  rlimit limit{};
  getrlimit(RLIMIT_MEMLOCK, &limit);
  constexpr size_t length = 16 * 4096;
  auto* memory = static_cast<unsigned char*>(
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (memory == MAP_FAILED) victim::broken("mmap");
  victim::fill(memory, length, 4);
  if (mlock(memory, length) != 0) victim::skip("RLIMIT_MEMLOCK allows nothing");
  if (mlockall(MCL_FUTURE | (on_fault ? MCL_ONFAULT : 0)) != 0) victim::skip("no mlockall");
  victim::work_until_stop();
  victim::expect_filled("locked memory", memory, length, 4);
  if (victim::mapping_of(memory).flags.find(" lo ") == std::string::npos)
    victim::lost("the lock of what was there");
  auto* later = static_cast<unsigned char*>(
      mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (later == MAP_FAILED) {
    victim::lost("a mapping that fits into RLIMIT_MEMLOCK: %s", strerror(errno));
    return victim::finish();
  }
  unsigned char present[16];
  mincore(later, length, present);
  victim::expect_equal("a new page is there at once", on_fault ? 0 : 1, present[7] & 1u);
  const std::string flags = victim::mapping_of(later).flags;
  if (flags.find(" lo ") == std::string::npos) victim::lost("MCL_FUTURE: flags%s", flags.c_str());
  munlock(later, length);
  victim::expect_equal("MCL_ONFAULT", on_fault, flags.find(" lf ") != std::string::npos);
  return victim::finish();
}
