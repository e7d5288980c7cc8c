// SPDX-License-Identifier: MIT
// A huge sparse region, as sanitizers and the Java VM make them: a few pages of 64 GiB count.
//
// Fidelity: memory | MAP_NORESERVE, sparse | kept
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = size_t{64} << 30;
  auto* memory = static_cast<unsigned char*>(mmap(
      nullptr, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  if (memory == MAP_FAILED) victim::skip("64 GiB of address space cannot be had here");
  madvise(memory, length, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < 32; ++i) victim::fill(memory + i * (size_t{2} << 30) + 8192, 4096, i);
  victim::work_until_stop();

  for (size_t i = 0; i < 32; ++i) {
    victim::expect_filled("sparse page", memory + i * (size_t{2} << 30) + 8192, 4096, i);
    victim::expect_equal("untouched page", 0, memory[i * (size_t{2} << 30) + (1 << 30)]);
  }
  victim::mapping found = victim::mapping_of(memory);
  if (found.flags.find(" nr ") == std::string::npos)
    victim::lost("MAP_NORESERVE: flags%s", found.flags.c_str());
  return victim::finish();
}
