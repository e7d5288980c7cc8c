// SPDX-License-Identifier: MIT
//
// The memory a checkpoint works in: one mapping, reserved when it begins and gone when it ends.
// It never moves or grows, because it must be left out of the map it helps to read.
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

class arena {
 public:
  // Context: triggering thread
  result<void> reserve() {
    const u64 seed = CKPT_TRY(unlocked_page());
    errc error = errc::no_memory;
    for (u64 size = u64{1} << 30; size >= u64{4} << 20; size /= 4) {
      const auto at = sys::mremap(seed, page_size, size, sys::abi::mremap_maymove);
      if (at.ok()) {
        whole_ = {*at, *at + size};
        top_ = whole_.end;
        return {};
      }
      error = at.error();
    }
    (void)sys::munmap(seed, page_size);
    return error;
  }
  /// MCL_FUTURE and MCL_ONFAULT of mlockall(2), if the program has asked for them.
  [[nodiscard]] u32 lock_future() const { return lock_future_; }

  // Context: whoever of helper and triggering thread comes last
  void release() {
    if (!whole_.empty()) (void)sys::munmap(whole_.begin, whole_.length());
    whole_ = {};
  }

  [[nodiscard]] range whole() const { return whole_; }

  /// Room from the top, of whole pages, for as long as the arena lives.
  result<mutable_bytes> take(u64 size) { return take_aligned(page_up(size), page_size); }
  /// The same for what is smaller than a page.
  result<mutable_bytes> take_aligned(u64 size, u64 alignment) {
    if (size + alignment > top_ - whole_.begin - used_below_) return errc::no_memory;
    top_ = (top_ - size) & ~(alignment - 1);
    return mutable_bytes(reinterpret_cast<std::byte*>(top_), size);
  }

  /// The metadata grows from the bottom.
  [[nodiscard]] format::growing_memory bottom() {
    return {[](void* self, u64 n) -> result<mutable_bytes> {
              auto& a = *static_cast<arena*>(self);
              constexpr u64 step = 64 * 1024;
              if (align_up(n, step) > a.top_ - a.whole_.begin) return errc::no_memory;
              a.used_below_ = align_up(n, step);
              return mutable_bytes(reinterpret_cast<std::byte*>(a.whole_.begin), a.used_below_);
            },
            this};
  }

 private:
  /// After mlockall(MCL_FUTURE) every new mapping is locked, filled at once and counted against
  /// RLIMIT_MEMLOCK. One page that is unlocked again can grow to any size without either. That the
  /// page came locked shows in MADV_DONTNEED, which locked memory refuses.
  result<u64> unlocked_page() {
    const u64 at = CKPT_TRY(sys::mmap(
        0, page_size, sys::abi::prot_read | sys::abi::prot_write,
        sys::abi::map_private | sys::abi::map_anonymous | sys::abi::map_noreserve, -1, 0));
    u8 present = 0;
    (void)sys::mincore(at, page_size, &present);
    lock_future_ = 0;
    if (sys::madvise(at, page_size, sys::abi::madv_dontneed).error() == errc::invalid) {
      lock_future_ = static_cast<u32>(sys::abi::mcl_future);
      if ((present & 1) == 0) lock_future_ |= static_cast<u32>(sys::abi::mcl_onfault);
      (void)sys::munlock(at, page_size);
    }
    return at;
  }

  range whole_;
  u32 lock_future_ = 0;
  u64 top_ = 0;
  u64 used_below_ = 0;
};

}  // namespace ckpt::agent
