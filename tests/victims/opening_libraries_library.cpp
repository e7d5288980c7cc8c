// SPDX-License-Identifier: MIT
// What opening_libraries.cpp opens and closes.
#include <cstdint>

static thread_local uint64_t calls;
static uint64_t begun;

[[gnu::constructor]] static void begin() { begun = 0x5eed; }

extern "C" uint64_t of_library(uint64_t turn) {
  return begun + turn + ++calls;
}
