// SPDX-License-Identifier: MIT
//
// Works for ever in 8 MiB of memory that it has filled, and says so once.
#include <unistd.h>

#include <cstddef>
#include <vector>

int main() {
  std::vector<unsigned> memory(2 << 20);
  unsigned state = 1;
  for (auto& word : memory) word = state = state * 1664525 + 1013904223;
  if (write(1, "ready\n", 6) != 6) return 1;
  for (std::size_t i = 0;; i = (i + 4099) % memory.size()) memory[i] += static_cast<unsigned>(i);
}
