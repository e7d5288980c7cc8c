// SPDX-License-Identifier: MIT
//
// Puts the program's memory back: every segment mapped where it was, its bytes read into place,
// its protection and flags set last. Page faults are what a restart costs, so runs that fill
// whole huge pages get them.
#pragma once

#include "ckpt/maps/vm_flags.hpp"
#include "ckpt/state/mapping_settings.hpp"
#include "image_stream.hpp"

namespace ckpt::restart {

class memory_loader {
 public:
  /// `saved_vdso` receives the bytes of the saved vDSO, which is not mapped here.
  memory_loader(image_stream& stream, const format::file_header& header, bytes metadata,
                std::span<wire::le<u64>> computed, mutable_bytes saved_vdso,
                mutable_bytes contents)
      : stream_(stream), metadata_(metadata), hasher_(header.block_size, computed),
        saved_vdso_(saved_vdso), contents_(contents) {}

  // Context: restarter, no libc
  result<void> load(report& why) {
    CKPT_TRY(map_segments(why));
    CKPT_TRY(map_beyond_ends());
    CKPT_TRY(read_data(why));
    return protect_segments(why);
  }

  /// Whether some memory that the program had locked is not: RLIMIT_MEMLOCK is lower here.
  [[nodiscard]] bool could_not_lock() const { return could_not_lock_; }

 private:
  using kind = state::segment_kind;
  static constexpr u64 worth_populating = 4 * page_size;
  static constexpr u64 huge_page = u64{2} << 20;
  /// Above this, a segment that was never charged to the commit limit is not charged now.
  static constexpr u64 large_reservation = u64{64} << 20;

  static bool is_kernels(const state::segment& s) {
    return s.kind == kind::vdso || s.kind == kind::vvar;
  }
  static bool reserved_only(const state::segment& s) {
    return s.length >= large_reservation && !flags_of(s).has(maps::vm_flag::accountable) &&
           !flags_of(s).has(maps::vm_flag::no_reserve);
  }
  static maps::vm_flags flags_of(const state::segment& s) {
    return maps::vm_flags::from_bits(s.vm_flags);
  }

  /// Visits segments that this process maps; stops at the first error.
  template <class Visitor>
  result<void> for_each_segment(Visitor&& visit) {
    result<void> outcome;
    image::for_each<state::segment>(metadata_, [&](const state::segment& s, bytes) {
      if (outcome.ok() && !is_kernels(s)) outcome = visit(s);
    });
    return outcome;
  }

  result<void> map_segments(report& why) {
    return for_each_segment([&](const state::segment& s) -> result<void> {
      int flags = sys::abi::map_private | sys::abi::map_anonymous | sys::abi::map_fixed_noreplace;
      const auto saved = flags_of(s);
      if (s.kind == kind::shared) return reserve(s, why);
      if (saved.has(maps::vm_flag::droppable) && map_droppable(s)) return {};
      if (saved.has(maps::vm_flag::no_reserve)) flags |= sys::abi::map_noreserve;
      if (saved.has(maps::vm_flag::grows_down)) flags |= sys::abi::map_growsdown;
      const int prot = reserved_only(s) ? sys::abi::prot_none
                                        : sys::abi::prot_read | sys::abi::prot_write;
      const auto at = sys::mmap(s.address, s.length, prot, flags, -1, 0);
      if (!at.ok() || *at != s.address)
        return why.explain(at.ok() ? errc::exists : at.error(), "cannot map ",
                           address_range{s.address, s.address + s.length},
                           " where the program had it");
      if (saved.has(maps::vm_flag::huge_page))
        (void)sys::madvise(s.address, s.length, sys::abi::madv_hugepage);
      if (saved.has(maps::vm_flag::no_huge_page))
        (void)sys::madvise(s.address, s.length, sys::abi::madv_nohugepage);
      return {};
    });
  }

  /// The agent maps it, when it is known that the image is good: files may have to change first.
  static result<void> reserve(const state::segment& s, report& why) {
    const auto at = sys::mmap(s.address, s.length, sys::abi::prot_none,
                              sys::abi::map_private | sys::abi::map_anonymous |
                                  sys::abi::map_noreserve | sys::abi::map_fixed_noreplace,
                              -1, 0);
    if (!at.ok() || *at != s.address)
      return why.explain(at.ok() ? errc::exists : at.error(), "cannot reserve ",
                         address_range{s.address, s.address + s.length},
                         " where the program had it");
    return {};
  }

  /// Where the kernel does not know it (before 6.11), ordinary memory keeps the promise as well.
  static bool map_droppable(const state::segment& s) {
    return sys::mmap(
               s.address, s.length, sys::abi::prot_read | sys::abi::prot_write,
               sys::abi::map_droppable | sys::abi::map_anonymous | sys::abi::map_fixed_noreplace,
               -1, 0)
        .ok();
  }

  bool in_shared(const state::trap_range& t) {
    bool inside = false;
    image::for_each<state::segment>(metadata_, [&](const state::segment& s, bytes) {
      inside = inside || (s.kind == kind::shared && s.address <= t.address &&
                          t.address - s.address < s.length);
    });
    return inside;
  }

  template <class Visitor>
  result<void> for_each_trap(state::trap_kind wanted, Visitor&& visit) {
    result<void> outcome;
    image::for_each<state::trap_range>(metadata_, [&](const state::trap_range& t, bytes) {
      if (outcome.ok() && t.kind == wanted) outcome = visit(t);
    });
    return outcome;
  }

  /// Beyond the end of a mapped file a touch is SIGBUS; an empty file gives just that. Where there
  /// is no memfd_create(2) the pages are zeroes.
  result<void> map_beyond_ends() {
    sys::unique_fd empty(-1);
    return for_each_trap(
        state::trap_kind::beyond_end, [&](const state::trap_range& t) -> result<void> {
          constexpr u32 mfd_exec = 0x10;  // since 6.3: the mapping may have been executable
          constexpr const char* name = "beyond the end of the file";
          if (!empty) {
            auto made = sys::memfd_create(name, sys::abi::mfd_cloexec | mfd_exec);
            if (!made.ok()) made = sys::memfd_create(name, sys::abi::mfd_cloexec);
            if (!made.ok()) return {};
            empty = sys::unique_fd(*made);
          }
          const auto at =
              sys::mmap(t.address, t.length, sys::abi::prot_read | sys::abi::prot_write,
                        sys::abi::map_private | sys::abi::map_fixed | sys::abi::map_noreserve,
                        empty.get(), 0);
          if (!at.ok()) return at.error();
          return {};
        });
  }

  /// Extents come in the order of the data, so one pass over the stream fills everything.
  result<void> read_data(report& why) {
    result<void> outcome;
    image::for_each<state::extents>(metadata_, [&](const state::extents& t, bytes tail) {
      for (u64 i = 0; i < t.count && outcome.ok(); ++i)
        outcome = t.object == 0 ? read_memory(image::extent_at(tail, i))
                                : queue(contents_position(image::extent_at(tail, i).length),
                                        image::extent_at(tail, i).length);
    });
    if (outcome.ok()) outcome = flush();
    if (!outcome.ok())
      return why.explain(outcome.error(), "cannot read the data at offset ", stream_.position());
    hasher_.finish();
    return {};
  }

  u64 contents_position(u64 length) {
    const u64 at = contents_used_;
    contents_used_ += length;
    return reinterpret_cast<u64>(contents_.data()) + at;
  }

  result<void> read_memory(const state::extent& e) {
    const state::segment& s = segment_of(e.address);
    if (s.kind == kind::vdso) {
      const u64 at = e.address - s.address;
      if (saved_vdso_.size() < at + e.length) return errc::malformed;
      return queue(reinterpret_cast<u64>(saved_vdso_.data()) + at, e.length);
    }
    if (reserved_only(s))
      CKPT_TRY(sys::mprotect(e.address, e.length, sys::abi::prot_read | sys::abi::prot_write));
    else if (!flags_of(s).has(maps::vm_flag::no_huge_page))
      make_huge(s, e);
    return queue(e.address, e.length);
  }

  /// Extents and segments both ascend: the search goes on where it ended.
  const state::segment& segment_of(u64 address) {
    while (current_.address + current_.length <= address) {
      const auto view = segments_.next();
      if (!view.ok()) __builtin_trap();  // validated: every extent lies in a segment
      if (view->type == format::record_type::segment)
        current_ = *wire::decode<state::segment>(view->fixed);
    }
    return current_;
  }

  /// MADV_COLLAPSE (6.1) makes a huge page at once and, unlike MADV_HUGEPAGE, leaves no mark on the
  /// mapping. Only where the extent fills all of it: memory that was sparse stays sparse.
  void make_huge(const state::segment& s, const state::extent& e) {
    const u64 end = e.address + e.length;
    const bool advised = flags_of(s).has(maps::vm_flag::huge_page);
    for (u64 at = align_up(e.address, huge_page); !advised && !no_collapse_ && at + huge_page <= end;
         at += huge_page) {
      *reinterpret_cast<volatile char*>(at) = 0;
      const auto done = sys::madvise(at, huge_page, sys::abi::madv_collapse);
      if (!done.ok() && done.error() == errc::invalid) no_collapse_ = true;
    }
  }

  /// Small pieces are read together, large ones in chunks that are hashed while in the cache.
  result<void> queue(u64 address, u64 length) {
    while (length > 0) {
      const u64 room = sys::io_chunk - queued_bytes_;
      const u64 n = length < room ? length : room;
      // Pages made in one call cost less than pages made one fault at a time (5.14; else no harm).
      if (n >= worth_populating) (void)sys::madvise(address, n, sys::abi::madv_populate_write);
      queued_[queued_count_++] = {address, n};
      queued_bytes_ += n;
      address += n;
      length -= n;
      if (queued_count_ == max_queued || queued_bytes_ == sys::io_chunk) CKPT_TRY(flush());
    }
    return {};
  }

  result<void> flush() {
    if (queued_count_ == 0) return {};
    sys::abi::iovec pieces[max_queued];
    std::memcpy(pieces, queued_, sizeof(sys::abi::iovec) * queued_count_);
    CKPT_TRY(stream_.read_gathered(pieces, static_cast<int>(queued_count_)));
    for (u32 i = 0; i < queued_count_; ++i)
      hasher_.add({reinterpret_cast<const std::byte*>(queued_[i].base), queued_[i].length});
    queued_count_ = 0;
    queued_bytes_ = 0;
    return {};
  }

  /// A seal comes last: it would hold off all the rest.
  result<void> protect_segments(report& why) {
    CKPT_TRY(for_each_segment([&](const state::segment& s) { return protect(s, why); }));
    image::for_each<state::segment>(metadata_, [&](const state::segment& s, bytes name) {
      if (!is_kernels(s) && s.kind != kind::shared) state::set_name(s, text_of_bytes(name));
    });
    CKPT_TRY(
        for_each_trap(state::trap_kind::guard, [&](const state::trap_range& t) -> result<void> {
          return in_shared(t) ? result<void>() : state::install_guard(t, why);
        }));
    return for_each_segment([&](const state::segment& s) -> result<void> {
      if (s.kind == kind::shared) return {};
      could_not_lock_ = !state::advise(s) || could_not_lock_;
      return state::seal(s, why);
    });
  }

  result<void> protect(const state::segment& s, report& why) {
    const int prot = static_cast<int>(s.protection.bits());
    if (s.kind == kind::shared) return {};
    if (prot == (sys::abi::prot_read | sys::abi::prot_write) && !reserved_only(s)) return {};
    if (auto r = sys::mprotect(s.address, s.length, prot); !r.ok())
      return why.explain(r.error(), "cannot protect ",
                         address_range{s.address, s.address + s.length}, " as the program had it");
    return {};
  }

  static constexpr u32 max_queued = 256;

  image_stream& stream_;
  bytes metadata_;
  image::block_hasher hasher_;
  mutable_bytes saved_vdso_;
  mutable_bytes contents_;
  u64 contents_used_ = 0;
  format::record_cursor segments_{metadata_};
  state::segment current_{};
  bool no_collapse_ = false;
  bool could_not_lock_ = false;
  u32 queued_count_ = 0;
  u64 queued_bytes_ = 0;
  sys::abi::iovec queued_[max_queued];
};

}  // namespace ckpt::restart
