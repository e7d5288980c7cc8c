// SPDX-License-Identifier: MIT
// Takes 64 MiB that no file system leaves out when a file named "grow" appears, and says so: its
// next image is much larger than its last.
#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 64 << 20;
  unsigned char* memory = nullptr;
  victim::ready();
  while (!victim::stop_requested()) {
    victim::compute();
    if (!memory && access("grow", F_OK) == 0) {
      memory = static_cast<unsigned char*>(malloc(length));
      victim::fill(memory, length, 8);
      victim::say("grown\n");
    }
  }
  if (memory) victim::expect_filled("memory", memory, length, 8);
  return victim::finish();
}
