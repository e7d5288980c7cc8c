// SPDX-License-Identifier: MIT
//
// Merge sort in memory that the caller lends: no recursion, no allocation, n log n comparisons at
// most and n for what is sorted already. Comparing may be a system call, so few are made.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt {

/// Sorts items, stably; room is of the same size. Context: any, no libc
template <class T, class Less>
void merge_sort(std::span<T> items, std::span<T> room, Less&& less) {
  const u64 n = items.size();
  for (u64 width = 1; width < n; width *= 2) {
    for (u64 begin = 0; begin + width < n; begin += 2 * width) {
      const u64 middle = begin + width;
      const u64 end = n - begin < 2 * width ? n : begin + 2 * width;
      if (!less(items[middle], items[middle - 1])) continue;
      for (u64 i = begin; i < middle; ++i) room[i] = items[i];
      u64 left = begin;
      u64 right = middle;
      u64 to = begin;
      while (left < middle)
        items[to++] = right < end && less(items[right], room[left]) ? items[right++] : room[left++];
    }
  }
}

/// The first of the sorted items that is not before what is sought: before(item) says so of each.
/// Context: any, no libc
template <class T, class Before>
[[nodiscard]] u64 first_not(std::span<T> items, Before&& before) {
  u64 from = 0;
  u64 left = items.size();
  while (left > 0) {
    const u64 half = left / 2;
    if (before(items[from + half])) {
      from += half + 1;
      left -= half + 1;
    } else {
      left = half;
    }
  }
  return from;
}

}  // namespace ckpt
