// SPDX-License-Identifier: MIT
// The smallest program that other tests freeze: counts, and says at the end whether it has lost
// count. With a second argument it first takes so many MiB of memory and fills them; with a third
// it ends with that status, or by that signal when it is negative.
#include <signal.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  size_t length = count > 2 ? static_cast<size_t>(atol(values[2])) << 20 : 0;
  int status = count > 3 ? atoi(values[3]) : 0;
  auto* memory = static_cast<unsigned char*>(length ? malloc(length) : nullptr);
  if (length) victim::fill(memory, length, 6);
  volatile uint64_t up = 0, down = ~uint64_t{0};
  victim::ready();
  while (!victim::stop_requested()) {
    for (int i = 0; i < 100'000; ++i) {
      up = up + 1;
      down = down - 1;
    }
  }
  victim::expect_equal("count", ~uint64_t{0}, up + down);
  if (length) victim::expect_filled("memory", memory, length, 6);
  int result = victim::finish();
  if (result == 0 && status < 0) {
    signal(-status, SIG_DFL);
    raise(-status);
  }
  return result ? result : status;
}
