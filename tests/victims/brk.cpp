// SPDX-License-Identifier: MIT
// The heap that brk made: its contents stay, its end is where it was, and it still grows and
// shrinks.
//
// Fidelity: memory | the heap of brk | kept
#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t mebibyte = 1 << 20;
  void* first = sbrk(mebibyte);
  if (first == reinterpret_cast<void*>(-1)) victim::broken("sbrk");
  victim::fill(first, mebibyte, 1);
  void* end = sbrk(0);
  victim::work_until_stop();

  victim::expect_equal("the break", reinterpret_cast<uintptr_t>(end),
                       reinterpret_cast<uintptr_t>(sbrk(0)));
  victim::expect_filled("heap", first, mebibyte, 1);
  void* more = sbrk(8 * mebibyte);
  if (more != end) {
    victim::lost("sbrk gave %p instead of %p", more, end);
    return victim::finish();
  }
  for (size_t i = 0; i < 8 * mebibyte; i += 512)
    if (static_cast<unsigned char*>(more)[i] != 0) {
      victim::lost("new heap is not zero at %zu", i);
      break;
    }
  victim::fill(more, 8 * mebibyte, 2);
  victim::expect_filled("heap after growing", first, mebibyte, 1);
  if (sbrk(-static_cast<intptr_t>(9 * mebibyte)) == reinterpret_cast<void*>(-1))
    victim::lost("the heap does not shrink");
  return victim::finish();
}
