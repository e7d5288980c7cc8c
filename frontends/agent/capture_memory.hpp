// SPDX-License-Identifier: MIT
//
// The frozen program's memory: which of its pages hold anything, and their bytes. Zero pages and
// pages never touched cost nothing.
#pragma once

#include <cstring>

#include "ckpt/image/metadata_view.hpp"
#include "page_finder.hpp"
#include "segment_recorder.hpp"

namespace ckpt::agent {

/// Finds the pages worth saving and gives their bytes.
class memory_capture {
 public:
  memory_capture(session& s, own_memory own) : s_(s), own_(own) {}

  /// What no image contains.
  // Context: helper, all threads frozen
  void leave_out(region_view regions) { regions_ = regions; }

  /// Appends a record for every mapping.
  // Context: helper, all threads frozen
  result<void> capture_segments(shared_objects& objects) {
    objects_ = &objects;
    const u64 first = s_.metadata.size();
    const sys::unique_fd smaps(sys::openat(sys::abi::at_fdcwd, "/proc/self/smaps",
                                           sys::abi::o_rdonly | sys::abi::o_cloexec)
                                   .value_or(-1));
    if (!smaps) return s_.why.refuse("cannot open /proc/self/smaps (is /proc mounted?)");
    segment_recorder recorder(s_.metadata, own_, regions_, objects, s_.why);
    sys::linux_files kernel;
    const auto text = CKPT_TRY(s_.arena.take(64 * 1024));
    if (auto r = maps::parse_file(kernel, smaps.get(),
                                  std::span(reinterpret_cast<char*>(text.data()), text.size()),
                                  recorder);
        !r.ok())
      return s_.why.explain(r.error(), "cannot read the memory map");
    segments_ = {first, s_.metadata.size()};
    return {};
  }

  [[nodiscard]] bytes segments() const {
    return s_.metadata.view().subspan(segments_.begin, segments_.length());
  }

  /// Appends the ranges that cannot be touched.
  // Context: helper, all threads frozen
  result<void> capture_traps() {
    CKPT_TRY(remote_.open());
    CKPT_TRY(finder_.open());
    bounce_ = CKPT_TRY(s_.arena.take(bounce_size));
    const u64 first = s_.metadata.size();
    result<void> outcome;
    image::for_each<state::segment>(segments(), [&](const state::segment& seg, bytes) {
      if (outcome.ok()) outcome = find_traps(seg);
    });
    traps_ = {first, s_.metadata.size()};
    return outcome;
  }

  /// Appends the table of extents.
  // Context: helper, all threads frozen
  result<void> capture_extents() {
    untrapped pieces(s_.metadata.view().subspan(traps_.begin, traps_.length()));
    state::extents table{};
    CKPT_TRY(s_.metadata.begin(table));
    result<void> outcome;
    // The table grows behind the records that are being walked, in memory that does not move.
    image::for_each<state::segment>(segments(), [&](const state::segment& seg, bytes name) {
      name_ = text_of_bytes(name);
      if (outcome.ok())
        outcome = pieces.for_each(
            {seg.address, seg.address + seg.length}, [&](range piece) {
              return regions_.each_kept(piece, [&](range kept) { return find_pages(seg, kept); });
            });
      if (outcome.ok()) outcome = flush_extent();  // an extent lies in one segment
    });
    CKPT_TRY(outcome);
    table.count = count_;
    s_.metadata.amend(table);
    return s_.metadata.end();
  }

  [[nodiscard]] u64 data_size() const { return data_; }

  /// What was opened shows the memory of the process that has opened it.
  // Context: a process forked off the helper
  result<void> open_again() { return remote_.open(); }

  /// Gives the bytes of all extents, in order, to writer.put_data(), and calls settle() before
  /// memory given earlier changes.
  // Context: helper, all threads frozen
  template <class Writer>
  result<void> write(bytes extents, Writer& writer) {
    result<void> outcome;
    u64 i = 0;
    const u64 n = extents.size() / sizeof(state::extent);
    image::for_each<state::segment>(segments(), [&](const state::segment& seg, bytes) {
      for (; i < n && outcome.ok(); ++i) {
        const auto e = image::extent_at(extents, i);
        if (e.address >= seg.address + seg.length) break;
        outcome = in_place(seg) ? write_in_place({e.address, e.address + e.length}, writer)
                                : write_copy({e.address, e.address + e.length}, writer);
      }
    });
    return outcome;
  }

 private:
  static constexpr u64 bounce_size = 256 * 1024;
  /// Below it, reading all of a file costs less than to find out what is in it.
  static constexpr u64 worth_asking = u64{16} << 20;

  /// Anonymous, readable, present: reading it can neither fault nor fail.
  static bool in_place(const state::segment& s) {
    return (s.kind == state::segment_kind::anonymous || s.kind == state::segment_kind::stack) &&
           s.protection.has(state::protection::read);
  }

  static bool is_file(const state::segment& s) {
    return s.kind == state::segment_kind::private_file ||
           s.kind == state::segment_kind::shared_file;
  }

  /// The parts of a range that no trap covers. Ranges are asked for in ascending order.
  class untrapped {
   public:
    explicit untrapped(bytes traps) : rest_(traps) {}
    template <class Visitor>
    result<void> for_each(range where, Visitor&& visit) {
      for (u64 at = where.begin; at < where.end;) {
        while (trap_.end <= at && !rest_.done()) {
          const auto view = rest_.next();
          if (!view.ok()) return view.error();
          const auto t = CKPT_TRY(wire::decode<state::trap_range>(view->fixed));
          trap_ = {t.address, t.address + t.length};
        }
        const bool trapped = trap_.contains(at);
        const u64 end = trapped                                       ? trap_.end
                        : trap_.begin > at && trap_.begin < where.end ? trap_.begin
                                                                      : where.end;
        if (!trapped) CKPT_TRY(visit(range{at, end}));
        at = end;
      }
      return {};
    }

   private:
    format::record_cursor rest_;
    range trap_;
  };

  result<void> find_traps(const state::segment& s) {
    if (s.kind == state::segment_kind::vvar || s.kind == state::segment_kind::vdso) return {};
    const range where{s.address, s.address + s.length};
    const u64 first = s_.metadata.size();
    CKPT_TRY(finder_.for_each(where, [&](range run, page_finder::what is) -> result<void> {
      if (is == page_finder::what::guard) return add_trap(state::trap_kind::guard, run);
      // A kernel that has guards and no word for them (6.13, 6.14): an anonymous page that exists
      // and cannot be read.
      if (is != page_finder::what::swapped || finder_.knows_guards() || is_file(s)) return {};
      for (u64 at = run.begin; at < run.end; at += page_size)
        if (!readable(at)) CKPT_TRY(add_trap(state::trap_kind::guard, {at, at + page_size}));
      return {};
    }));
    return is_file(s) ? find_end_of_file(where, first) : result<void>();
  }

  bool readable(u64 page) { return remote_.read(page, bounce_.first(1)) == 1; }

  /// What cannot be read at the end of a file's mapping lies beyond the file's end. Guards, whose
  /// records begin at `guards`, say nothing about that and are left out.
  result<void> find_end_of_file(range where, u64 guards) {
    if (readable(where.end - page_size)) return {};
    const bytes known = s_.metadata.view().subspan(guards);
    range last{where.begin, where.begin};  // behind the last guard
    untrapped pieces(known);
    u64 unreadable = where.end;
    CKPT_TRY(pieces.for_each(where, [&](range piece) -> result<void> {
      last = piece;
      return {};
    }));
    if (last.end != where.end) return {};    // the mapping ends in a guard
    u64 low = last.begin, high = where.end;  // the first unreadable page lies in [low, high)
    while (low < high) {
      const u64 middle = page_down(low + (high - low) / 2);
      if (readable(middle))
        low = middle + page_size;
      else
        high = unreadable = middle;
    }
    return add_trap(state::trap_kind::beyond_end, {unreadable, where.end});
  }

  result<void> add_trap(state::trap_kind kind, range where) {
    state::trap_range t{};
    t.address = where.begin;
    t.length = where.length();
    t.kind = kind;
    return s_.metadata.add(t);
  }

  result<void> find_pages(const state::segment& s, range where) {
    if (s.kind == state::segment_kind::vvar) return {};
    // Promised to be empty in any copy of the program: a restarted one is a copy.
    const auto flags = maps::vm_flags::from_bits(s.vm_flags);
    if (flags.has(maps::vm_flag::wipe_on_fork) || flags.has(maps::vm_flag::droppable)) return {};
    if (s.kind == state::segment_kind::shared) return {};  // its object's pages count
    if (is_file(s) && s.length >= worth_asking) return find_in_large_file(s, where);
    if (is_file(s) || s.kind == state::segment_kind::vdso)
      return find_by_reading(where);  // the file's pages count, mapped or not
    return finder_.for_each(where, [&](range run, page_finder::what is) -> result<void> {
      if (is == page_finder::what::guard) return {};
      if (!in_place(s) || is == page_finder::what::swapped) return find_by_reading(run);
      for (u64 at = run.begin; at < run.end; at += page_size)
        if (!own_.scratch.contains(at) && holds_anything(at)) CKPT_TRY(add_page(at));
      return {};
    });
  }

  /// A file may be larger than any memory and hold next to nothing: only its data are read, and the
  /// pages that the program has of its own.
  result<void> find_in_large_file(const state::segment& s, range where) {
    const sys::unique_fd fd(
        objects_->open_mapped({s.address, s.address + s.length}, name_, s.device, s.inode)
            .value_or(-1));
    if (!fd) return find_by_reading(where);
    u64 at = where.begin;
    while (at < where.end) {
      const i64 offset = static_cast<i64>(s.file_offset + (at - s.address));
      const auto data = sys::lseek(fd.get(), offset, sys::abi::seek_data);
      const u64 skip = data.ok() ? page_down(static_cast<u64>(*data)) : ~u64{0};
      constexpr auto only_a_hole_left = static_cast<errc>(6);  // ENXIO
      if (!data.ok() && data.error() != only_a_hole_left) return find_by_reading({at, where.end});
      const u64 distance = skip - static_cast<u64>(offset);
      const u64 begin = !data.ok() || distance >= where.end - at ? where.end : at + distance;
      CKPT_TRY(find_own_pages({at, begin}));
      if (begin == where.end) return {};
      const auto hole = sys::lseek(fd.get(), *data, sys::abi::seek_hole);
      const u64 length = hole.ok() ? page_up(static_cast<u64>(*hole)) - skip : ~u64{0};
      const u64 end = length < where.end - begin ? begin + length : where.end;
      CKPT_TRY(find_by_reading({begin, end}));
      at = end;
    }
    return {};
  }
  result<void> find_own_pages(range where) {
    if (where.empty()) return {};
    return finder_.for_each(where, [&](range run, page_finder::what is) -> result<void> {
      return is == page_finder::what::guard ? result<void>() : find_by_reading(run);
    });
  }

  result<void> find_by_reading(range where) {
    for (u64 at = where.begin; at < where.end;) {
      const u64 left = where.end - at;
      const u64 wanted = left < bounce_size ? left : bounce_size;
      const u64 got = remote_.read(at, bounce_.first(wanted)) / page_size * page_size;
      regions_.wipe(at, bounce_.first(got));
      for (u64 i = 0; i < got; i += page_size)
        if (!own_.scratch.contains(at + i) && !is_zero_page(bounce_.data() + i))
          CKPT_TRY(add_page(at + i));
      // Guards and what lies beyond the end of a file are known by now.
      if (got == 0)
        return s_.why.refuse("memory at ", hex{at}, " cannot be read (a disk error?)");
      at += got;
    }
    return {};
  }

  result<void> add_page(u64 at) {
    if (!pending_.empty() && pending_.end == at) {
      pending_.end += page_size;
      return {};
    }
    CKPT_TRY(flush_extent());
    pending_ = {at, at + page_size};
    return {};
  }

  result<void> flush_extent() {
    if (pending_.empty()) return {};
    state::extent e{};
    e.address = pending_.begin;
    e.length = pending_.length();
    e.data = data_;
    data_ += pending_.length();
    ++count_;
    pending_ = {};
    return s_.metadata.append(bytes_of(e));
  }

  /// A page that can be read in place.
  bool holds_anything(u64 at) {
    const auto* page = reinterpret_cast<const std::byte*>(at);
    if (!regions_.touches({at, at + page_size})) return !is_zero_page(page);
    const auto copy = bounce_.first(page_size);
    std::memcpy(copy.data(), page, page_size);
    regions_.wipe(at, copy);
    return !is_zero_page(copy.data());
  }

  /// What has bytes that must not be in the image is copied first: it is hashed and written, two
  /// looks, and the program's own memory stays as it is.
  template <class Writer>
  result<void> write_in_place(range where, Writer& writer) {
    for (u64 at = where.begin; at < where.end;) {
      const u64 end = regions_.next_touched(at, where.end);
      if (end > at)
        CKPT_TRY(writer.put_data({reinterpret_cast<const std::byte*>(at), end - at}));
      if (end < where.end) CKPT_TRY(write_copy({end, end + page_size}, writer));
      at = end < where.end ? end + page_size : end;
    }
    return {};
  }

  template <class Writer>
  result<void> write_copy(range where, Writer& writer) {
    for (u64 at = where.begin; at < where.end;) {
      const u64 left = where.end - at;
      const auto copy = bounce_.first(left < bounce_size ? left : bounce_size);
      CKPT_TRY(writer.settle());  // the bounce buffer may still be in use
      if (remote_.read(at, copy) != copy.size())
        return s_.why.refuse("memory at ", hex{at}, " became unreadable");
      regions_.wipe(at, copy);
      CKPT_TRY(writer.put_data(copy));
      at += copy.size();
    }
    return {};
  }

  session& s_;
  own_memory own_;
  region_view regions_;
  remote_memory remote_;
  page_finder finder_;
  mutable_bytes bounce_;
  shared_objects* objects_ = nullptr;
  std::string_view name_;  // of the segment at hand
  range segments_;
  range traps_;
  range pending_;
  u64 count_ = 0;
  u64 data_ = 0;
};

}  // namespace ckpt::agent
