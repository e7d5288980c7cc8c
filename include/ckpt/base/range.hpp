// SPDX-License-Identifier: MIT
//
// An address range that cannot wrap: every address + length in ckpt goes through here, because
// lengths come from files that may be hostile.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"

namespace ckpt {

/// Half open: [begin, end).
struct range {
  u64 begin = 0;
  u64 end = 0;

  [[nodiscard]] static constexpr result<range> at(u64 begin, u64 length) {
    u64 end = 0;
    if (__builtin_add_overflow(begin, length, &end)) return errc::overflow;
    return range{begin, end};
  }

  [[nodiscard]] constexpr u64 length() const { return end - begin; }
  [[nodiscard]] constexpr bool empty() const { return begin >= end; }
  [[nodiscard]] constexpr bool contains(u64 address) const {
    return begin <= address && address < end;
  }
  [[nodiscard]] constexpr bool contains(range other) const {
    return begin <= other.begin && other.end <= end;
  }
  [[nodiscard]] constexpr bool overlaps(range other) const {
    return begin < other.end && other.begin < end;
  }
  [[nodiscard]] constexpr range intersect(range other) const {
    range r{begin > other.begin ? begin : other.begin, end < other.end ? end : other.end};
    if (r.empty()) r.end = r.begin;
    return r;
  }
  constexpr bool operator==(const range&) const = default;
};

[[nodiscard]] constexpr bool is_page_aligned(u64 value) { return value % page_size == 0; }
[[nodiscard]] constexpr u64 page_down(u64 value) { return value & ~(page_size - 1); }

/// Rounds up; the caller guarantees that value is not within a page of the end of the space.
[[nodiscard]] constexpr u64 page_up(u64 value) { return page_down(value + page_size - 1); }
[[nodiscard]] constexpr u64 align_up(u64 value, u64 alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace ckpt
