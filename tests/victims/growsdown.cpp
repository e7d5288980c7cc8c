// SPDX-License-Identifier: MIT
// A MAP_GROWSDOWN region keeps growing when the page below it is touched.
//
// Fidelity: memory | MAP_GROWSDOWN regions | kept
#include <sys/mman.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t room = 16 << 20, length = 64 << 10;
  auto* reserve = static_cast<unsigned char*>(
      mmap(nullptr, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  if (reserve == MAP_FAILED) victim::broken("mmap");
  munmap(reserve, room);
  unsigned char* top = reserve + room;
  auto* memory = static_cast<unsigned char*>(
      mmap(top - length, length, PROT_READ | PROT_WRITE,
           MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_FIXED_NOREPLACE, -1, 0));
  if (memory == MAP_FAILED) victim::broken("mmap with MAP_GROWSDOWN");
  victim::fill(memory, length, 1);
  unsigned char* low = memory - 4096;
  *static_cast<volatile unsigned char*>(low) = 0x77;
  victim::work_until_stop();

  victim::expect_filled("the region", memory, length, 1);
  victim::expect_equal("the page it grew by", 0x77, *low);
  victim::mapping found = victim::mapping_of(memory);
  if (found.flags.find(" gd ") == std::string::npos)
    victim::lost("MAP_GROWSDOWN: flags%s", found.flags.c_str());
  for (int i = 2; i < 32; ++i) *static_cast<volatile unsigned char*>(memory - i * 4096) = 1;
  return victim::finish();
}
