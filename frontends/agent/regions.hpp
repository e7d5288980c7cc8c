// SPDX-License-Identifier: MIT
//
// What the program has said of its memory with ckpt_region: which bytes no image contains, and which
// pages a restart does not map. It is part of the image, so it holds in every generation.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

/// As CKPT_REGION_* of ckpt.h.
enum class region_kind : u32 { keep = 0, zero = 1, omit = 2 };

struct region {
  range where;
  region_kind kind = region_kind::keep;
};

/// Regions in ascending order, without overlap; of memory that is kept there is none.
class region_list {
 public:
  static constexpr u64 capacity = 1024;

  [[nodiscard]] std::span<const region> all() const { return {regions_, count_}; }

  /// What `before` says, with a later word over it; false when there is no room for that.
  bool assign(const region_list& before, const region& word) {
    count_ = 0;
    bool fits = true;
    for (const region& r : before.all())
      if (r.where.begin < word.where.begin)
        fits = add({r.where.intersect({0, word.where.begin}), r.kind}) && fits;
    if (word.kind != region_kind::keep) fits = add(word) && fits;
    for (const region& r : before.all())
      if (r.where.end > word.where.end)
        fits = add({r.where.intersect({word.where.end, ~u64{0}}), r.kind}) && fits;
    return fits;
  }

 private:
  bool add(const region& r) {
    if (r.where.empty()) return true;
    if (count_ > 0 && regions_[count_ - 1].kind == r.kind &&
        regions_[count_ - 1].where.end == r.where.begin) {
      regions_[count_ - 1].where.end = r.where.end;
      return true;
    }
    if (count_ == capacity) return false;
    regions_[count_++] = r;
    return true;
  }

  u64 count_ = 0;
  region regions_[capacity] = {};
};

/// What a capture asks of regions: which pages are left, which bytes of a copy must go.
class region_view {
 public:
  region_view() = default;
  explicit region_view(std::span<const region> regions) : regions_(regions) {}

  /// visit(range) for what is mapped again after a restart.
  template <class Visitor>
  result<void> each_mapped(range where, Visitor&& visit) const {
    return each_left(where, false, visit);
  }
  /// visit(range) for the pages of which some byte is in the image.
  template <class Visitor>
  result<void> each_kept(range where, Visitor&& visit) const {
    return each_left(where, true, visit);
  }
  /// The first page from `at` on, below `end`, that has a byte to be wiped; `end` when none has.
  [[nodiscard]] u64 next_touched(u64 at, u64 end) const {
    const u64 i = first_after(at);
    if (i == regions_.size() || regions_[i].where.begin >= end) return end;
    const u64 page = page_down(regions_[i].where.begin);
    return page > at ? page : at;
  }
  [[nodiscard]] bool touches(range where) const {
    return !where.empty() && next_touched(where.begin, where.end) != where.end;
  }
  /// `copy` is what is at `address`.
  void wipe(u64 address, mutable_bytes copy) const {
    const range where{address, address + copy.size()};
    for (u64 i = first_after(address); i < regions_.size(); ++i) {
      const range part = regions_[i].where.intersect(where);
      if (regions_[i].where.begin >= where.end) return;
      for (u64 at = part.begin; at < part.end; ++at) copy[at - address] = std::byte{0};
    }
  }
  [[nodiscard]] std::span<const region> all() const { return regions_; }

  /// The whole pages of a range.
  [[nodiscard]] static range whole_pages(range r) {
    constexpr u64 last_page = ~u64{0} - page_size;  // beyond, rounding up would wrap
    if (r.begin > last_page) return {};
    const range pages{page_up(r.begin), page_down(r.end)};
    return pages.empty() ? range{} : pages;
  }

 private:
  [[nodiscard]] u64 first_after(u64 address) const {
    u64 low = 0, high = regions_.size();
    while (low < high) {
      const u64 middle = low + (high - low) / 2;
      if (regions_[middle].where.end <= address)
        low = middle + 1;
      else
        high = middle;
    }
    return low;
  }

  template <class Visitor>
  result<void> each_left(range where, bool zero_too, Visitor&& visit) const {
    u64 at = where.begin;
    for (u64 i = first_after(at); i < regions_.size() && at < where.end;) {
      const auto counts = [&](const region& r) { return zero_too || r.kind == region_kind::omit; };
      if (regions_[i].where.begin >= where.end) break;
      range run = regions_[i].where;
      if (!counts(regions_[i++])) continue;
      while (i < regions_.size() && regions_[i].where.begin == run.end && counts(regions_[i]))
        run.end = regions_[i++].where.end;
      const range gone = whole_pages(run).intersect(where);
      if (gone.empty()) continue;
      if (gone.begin > at) CKPT_TRY(visit(range{at, gone.begin}));
      at = gone.end;
    }
    if (at < where.end) CKPT_TRY(visit(range{at, where.end}));
    return {};
  }

  std::span<const region> regions_;
};

/// Two lists: a word is put into the one that nobody reads, and then they change places. So whoever
/// stops all threads, in the middle of a call too, finds a list that is whole.
class region_registry {
 public:
  /// Empty, or why not; `own` is memory that the agent needs. Signals are held off, so that no handler
  /// can wait for the thread below it.
  // Context: program, signal handlers too
  std::string_view say(u64 address, u64 length, u32 what, std::span<const range> own) {
    const auto where = range::at(address, length);
    if (!where.ok()) return "the region wraps around the end of the address space";
    if (what > static_cast<u32>(region_kind::omit))
      return "a region is CKPT_REGION_KEEP, CKPT_REGION_ZERO or CKPT_REGION_OMIT";
    if (where->empty()) return {};
    const region word{*where, static_cast<region_kind>(what)};
    for (const range r : own)
      if (what != 0 && where->overlaps(r))
        return "the region has memory of ckpt's own, which every image needs";
    const u64 all = ~u64{0};
    u64 before = 0;
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, &before);
    take();
    const u32 now = __atomic_load_n(&active_, __ATOMIC_RELAXED);
    const bool fits = lists_[1 - now].assign(lists_[now], word);
    if (fits) __atomic_store_n(&active_, 1 - now, __ATOMIC_RELEASE);
    give_back();
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &before, nullptr);
    return fits ? std::string_view() : "there is no room for more than 1024 regions";
  }

  // Context: helper, all threads frozen
  [[nodiscard]] region_view view() const {
    return region_view(lists_[__atomic_load_n(&active_, __ATOMIC_ACQUIRE)].all());
  }

  /// A thread that was stopped in say() goes on with it under the process's new number.
  // Context: agent, in restored memory
  void move_to(int process) {
    if (owner_ != 0) owner_ = static_cast<u32>(process);
  }

 private:
  /// Held by a process that is not this one, the lock was copied by a fork in another thread, and
  /// nobody here will give it back.
  void take() {
    const auto mine = static_cast<u32>(sys::getpid());
    for (;;) {
      u32 seen = 0;
      if (exchange(seen, mine) || (seen != mine && exchange(seen, mine))) return;
      const sys::abi::timespec bound{0, 1'000'000};
      (void)sys::futex_wait(&owner_, seen, &bound);
    }
  }
  bool exchange(u32& seen, u32 mine) {
    return __atomic_compare_exchange_n(&owner_, &seen, mine, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
  }
  void give_back() {
    __atomic_store_n(&owner_, 0u, __ATOMIC_RELEASE);
    (void)sys::futex_wake(&owner_, 1);
  }

  u32 owner_ = 0;
  u32 active_ = 0;
  region_list lists_[2];
};

inline constinit region_registry regions_of_agent{};

}  // namespace ckpt::agent
