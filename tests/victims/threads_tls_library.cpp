// SPDX-License-Identifier: MIT
// What threads_tls.cpp opens: thread-local storage that no thread has room for in advance.
#include <cstdint>

static thread_local uint64_t words[5000];
static thread_local bool begun;

extern "C" uint64_t* of_library(unsigned i) {
  if (!begun) {
    for (unsigned j = 0; j < 5000; ++j) words[j] = 0x5eed + j;
    begun = true;
  }
  return &words[i];
}
