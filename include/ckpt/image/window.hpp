// SPDX-License-Identifier: MIT
//
// The window: a hole in the program's own address space where the restarter lives while the
// program's memory is put back around it. The writer chooses it, with everything in it that the
// restarter will need; the restarter divides it by the same rules.
#pragma once

#include "ckpt/format/header.hpp"

namespace ckpt::image {

/// The kernel puts neither stack nor vDSO nor mmap area below this, whatever the stack limit:
/// mmap_base is at least a sixth of the 47-bit space away from zero.
inline constexpr u64 window_limit = 0x145000000000;
inline constexpr u64 window_floor = 64 * 1024;
inline constexpr u64 vdso_room = 32 * page_size;

struct window_layout {
  range whole;
  range restarter;
  range vdso;        // where the kernel's vDSO waits
  range metadata;
  range computed;    // checksums of the data as it was read
  range expected;    // and as the image says
  range saved_vdso;  // bytes of the vDSO the program had

  /// Bytes a window needs.
  [[nodiscard]] static constexpr u64 size_for(u64 restarter, u64 metadata, u64 table) {
    return page_up(restarter) + vdso_room + page_up(metadata) + 2 * page_up(table) + vdso_room +
           spare;
  }
  /// For a restarter of `restarter` bytes, which may be another version than the writer's.
  [[nodiscard]] static window_layout of(const format::file_header& h, u64 restarter) {
    window_layout w;
    w.whole = {h.window_address, h.window_address + h.window_size};
    u64 at = w.whole.begin;
    const auto take = [&](u64 size) {
      const range r{at, at + page_up(size)};
      at = r.end;
      return r;
    };
    w.restarter = take(restarter);
    w.metadata = take(h.metadata_size);
    w.computed = take(h.table_size);
    w.expected = take(h.table_size);
    w.saved_vdso = take(vdso_room);
    w.vdso = take(vdso_room);
    return w;
  }

 private:
  static constexpr u64 spare = 64 * page_size;  // a later ckpt-restart may be a little larger
};

/// The lowest hole of `size` bytes between the occupied ranges, which `visit_all(visit)` names in
/// ascending order, and outside `avoid`.
template <class VisitAll>
result<u64> find_hole(u64 size, u64 alignment, VisitAll&& visit_all, range avoid = {},
                      u64 floor = u64{1} << 28, u64 limit = window_limit) {
  // One page stays free on either side, so that nothing merges with a neighbour.
  u64 candidate = align_up(floor, alignment);
  const auto step_over = [&](range r) {
    if (!r.empty() && r.begin < candidate + size + page_size && r.end + page_size > candidate)
      candidate = align_up(r.end + page_size, alignment);
  };
  if (avoid.end > 0 && avoid.end < floor) avoid = {};
  bool avoided = avoid.empty();
  visit_all([&](range r) {
    if (!avoided && avoid.begin < r.begin) {
      step_over(avoid);
      avoided = true;
    }
    step_over(r);
  });
  if (!avoided) step_over(avoid);
  if (candidate + size > limit) return errc::no_memory;
  return candidate;
}

}  // namespace ckpt::image
