// SPDX-License-Identifier: MIT
//
// The metadata of an image once its checksum is known to be good, and the rules it must obey.
// Everything that loads or shows an image goes through validate(): after it, every address, offset
// and count in the metadata can be used without another look.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/header.hpp"
#include "ckpt/format/walk.hpp"
#include "ckpt/image/all_records.hpp"
#include "ckpt/image/window.hpp"

namespace ckpt::image {

/// Addresses a user program of this architecture may have with four-level page tables, and the
/// five-level ones above. The kernel's own limit decides at mmap.
inline constexpr u64 user_space_end = u64{1} << 56;
inline constexpr i32 max_descriptor = 1 << 30;

using format::first;
using format::for_each;
using state::extent_at;

[[nodiscard]] inline bytes text(bytes metadata, state::text_kind kind) {
  bytes found;
  for_each<state::text>(metadata, [&](const state::text& t, bytes tail) {
    if (t.kind == kind) found = tail;
  });
  return found;
}

/// The header of this format version, with all its offsets in order and in place.
/// file_size is the size of the file, or header.image_size where it cannot be known (a pipe).
inline result<void> validate_header(const format::file_header& h, u64 file_size, report& why) {
  using format::feature;
  if (h.signature != format::image_magic) return why.refuse("not a ckpt image");
  if (h.major != format::version_major)
    return why.refuse("format version ", h.major.get(), ".", h.minor.get(),
                      " is not one this ckpt reads (", format::version_major,
                      ".x); use the ckpt that wrote it or a newer one");
  if (h.header_checksum != format::own_checksum(h))
    return why.refuse("the header is damaged (checksum mismatch)");
  if (h.machine != format::machine::x86_64)
    return why.refuse("made for another architecture (ELF machine ",
                      static_cast<u16>(h.machine.get()), ")");
  if (h.page_shift != 12) return why.refuse("made with another page size");
  if (!valid(h.features)) return why.refuse("uses a feature this ckpt does not know");
  if (h.features.has(feature::being_updated)) return why.refuse("incomplete: it was being written");
  if (file_size < h.image_size)
    return why.refuse("cut off: ", file_size, " of ", h.image_size.get(), " bytes");
  if (file_size > h.image_size)
    return why.refuse("followed by ", file_size - h.image_size, " bytes that do not belong to it");
  const auto in_order = [&] {
    const auto window = range::at(h.window_address, h.window_size);
    const auto metadata = range::at(h.metadata_offset, h.metadata_size);
    const auto data = range::at(h.data_offset, h.data_size);
    const auto table = range::at(h.table_offset, h.table_size);
    if (!window || !metadata || !data || !table) return false;
    if (!is_page_aligned(window->begin) || !is_page_aligned(window->end) || window->empty() ||
        window->end > user_space_end)
      return false;
    if (!is_page_aligned(metadata->begin) || !is_page_aligned(data->begin) ||
        !is_page_aligned(data->end) || h.metadata_size > format::max_metadata_size)
      return false;
    // The second comparison keeps page_up() from wrapping.
    if (h.header_size < sizeof h || metadata->begin < format::header_offset + h.header_size ||
        data->begin < metadata->end || data->begin != page_up(metadata->end) ||
        table->begin != data->end)
      return false;
    if (h.block_size < page_size || h.block_size > (u64{1} << 24) ||
        !is_page_aligned(h.block_size))
      return false;
    const u64 blocks = h.data_size / h.block_size + (h.data_size % h.block_size != 0 ? 1 : 0);
    return h.table_size == blocks * sizeof(u64) &&
           h.image_size - table->end == sizeof(format::trailer) && h.image_size >= table->end;
  };
  if (!in_order()) return why.refuse("the header is malformed");
  return {};
}

namespace detail {

class metadata_rules {
 public:
  metadata_rules(const format::file_header& h, report& why) : h_(h), why_(why) {}

  result<void> check(bytes metadata) {
    format::record_cursor cursor(metadata);
    while (!cursor.done()) {
      const auto view = cursor.next();
      if (!view.ok()) return why_.refuse("a record is cut off or malformed");
      const auto known = visit_record(*view, [](const auto&) {});
      if (known.error() == errc::not_found) {
        if (view->critical)
          return why_.refuse("has a record of unknown type ", static_cast<u16>(view->type),
                             "; it was made by a newer ckpt");
        continue;
      }
      if (!known.ok())
        return why_.refuse("a record of type ", static_cast<u16>(view->type), " is malformed");
      CKPT_TRY(visit(*view));
    }
    if (hosts_ != 1 || processes_ != 1 || layouts_ != 1 || cpus_ != 1 || threads_ == 0 ||
        memory_tables_ != 1)
      return why_.refuse("a record that must be there once is missing or repeated");
    if (threads_ != threads_said_) return why_.refuse("has ", threads_, " of ", threads_said_, " threads");
    if (wanted_contents_ > contents_) return why_.refuse("the contents of a file are missing");
    if (data_ != h_.data_size) return why_.refuse("the extents do not cover the data");
    CKPT_TRY(extents_within_segments(metadata));
    CKPT_TRY(objects_are_whole(metadata));
    return traps_within_segments(metadata);
  }

 private:
  template <class Record>
  static Record as(const format::record_view& view) {
    return *wire::decode<Record>(view.fixed);
  }

  result<void> visit(const format::record_view& view) {
    using format::record_type;
    switch (view.type) {
      case record_type::host: ++hosts_; break;
      case record_type::process:
        ++processes_;
        threads_said_ = as<state::process>(view).thread_count;
        break;
      case record_type::memory_layout: ++layouts_; break;
      case record_type::cpu: ++cpus_; break;
      case record_type::thread: ++threads_; break;
      case record_type::segment: return segment(as<state::segment>(view));
      case record_type::shared_object:
        return object(as<state::shared_object>(view));
      case record_type::extents: return table(as<state::extents>(view), view.tail);
      case record_type::open_file: {
        const auto f = as<state::open_file>(view);
        if (f.id != open_files_++ || f.stdio > 2)
          return why_.refuse("the open files are out of order");
        if (f.marks.has(state::file_mark::as_given) && f.kind != state::file_kind::regular)
          return why_.refuse("an open file is malformed");
        if (f.content > wanted_contents_) wanted_contents_ = f.content;
        break;
      }
      case record_type::descriptor: {
        const auto d = as<state::descriptor>(view);
        if (d.number <= last_descriptor_ || d.number > max_descriptor ||
            d.open_file >= open_files_)
          return why_.refuse("the descriptors are out of order");
        last_descriptor_ = d.number;
        break;
      }
      case record_type::file_lock:
        if (as<state::file_lock>(view).open_file >= open_files_)
          return why_.refuse("a lock on no file");
        break;
      case record_type::pipe_content: {
        const auto p = as<state::pipe_content>(view);
        if (p.packets > 1 || (p.packets == 1 && !whole_messages(view.tail)))
          return why_.refuse("the packets of a pipe are malformed");
        break;
      }
      case record_type::event_counter: {
        const auto e = as<state::event_counter>(view);
        if (e.open_file >= open_files_ || e.semaphore > 1 || e.count == ~u64{0})
          return why_.refuse("an eventfd is malformed");
        break;
      }
      case record_type::timer_file: {
        const auto t = as<state::timer_file>(view);
        if (t.open_file >= open_files_ || t.due_ns < 0 || t.due_at_ns < 0 || t.interval_ns < 0)
          return why_.refuse("a timerfd is malformed");
        break;
      }
      case record_type::signal_file:
        if (as<state::signal_file>(view).open_file >= open_files_)
          return why_.refuse("a signalfd is malformed");
        break;
      case record_type::epoll:
        return epoll(as<state::epoll>(view), view.tail);
      case record_type::socket_end: {
        const auto s = as<state::socket_end>(view);
        const bool known = s.type == u32{sys::abi::sock_stream} ||
                           s.type == u32{sys::abi::sock_dgram} ||
                           s.type == u32{sys::abi::sock_seqpacket};
        if (s.open_file >= open_files_ || !known || s.shut > 3 || s.peer == s.open_file ||
            (s.peer >= open_files_ && s.peer != state::no_peer) || !whole_messages(view.tail))
          return why_.refuse("a socket is malformed");
        break;
      }
      case record_type::signal_action: {
        const u32 signal = as<state::signal_action>(view).signal;
        if (signal < 1 || signal > 64) return why_.refuse("a signal that does not exist");
        break;
      }
      case record_type::pending_signal: {
        const i32 signal = as<state::pending_signal>(view).signal;
        if (signal < 1 || signal > 64) return why_.refuse("a signal that does not exist");
        break;
      }
      case record_type::posix_timer: {
        const auto t = as<state::posix_timer>(view);
        const bool signals = t.notify != sys::abi::sigev_none;
        if (t.id < 0 || t.interval_ns < 0 || t.overrun < 0 ||
            t.state > state::timer_signal_pending || (signals && (t.signal < 1 || t.signal > 64)))
          return why_.refuse("a POSIX timer is malformed");
        break;
      }
      case record_type::thread_settings:
        if (view.tail.size() > sizeof(state::processor_set::bits))
          return why_.refuse("the affinity of a thread is malformed");
        break;
      case record_type::credentials: {
        const u32 groups = as<state::credentials>(view).group_count;
        if (groups > state::most_groups || view.tail.size() != u64{groups} * sizeof(u32))
          return why_.refuse("the groups of a thread are malformed");
        break;
      }
      case record_type::trap_range:
        return trap(as<state::trap_range>(view));
      default: break;
    }
    return {};
  }

  static bool whole_messages(bytes tail) {
    return state::for_each_message(tail, [](bytes) {});
  }
  result<void> epoll(const state::epoll& e, bytes tail) {
    bool good = e.open_file < open_files_ && e.count == tail.size() / sizeof(state::epoll_entry) &&
                tail.size() % sizeof(state::epoll_entry) == 0;
    for (u64 i = 0; good && i < e.count; ++i) {
      const auto entry = state::epoll_entry_at(tail, i);
      good = entry.open_file < open_files_ && entry.descriptor >= 0 &&
             entry.descriptor <= max_descriptor;
    }
    if (!good) return why_.refuse("an epoll is malformed");
    return {};
  }

  result<void> trap(const state::trap_range& t) {
    const auto where = range::at(t.address, t.length);
    if (!where || where->empty() || !is_page_aligned(where->begin) ||
        !is_page_aligned(where->end) || where->begin < traps_end_ ||
        where->contains(h_.agent_entry) || where->contains(h_.agent_stack - 16))
      return why_.refuse("a range that cannot be touched has an impossible address");
    traps_end_ = where->end;
    return {};
  }

  result<void> segment(const state::segment& s) {
    const auto where = range::at(s.address, s.length);
    if (!where || where->empty() || !is_page_aligned(where->begin) ||
        !is_page_aligned(where->end) || where->end > user_space_end || where->begin < page_size ||
        (s.kind == state::segment_kind::vdso && s.length > vdso_room))
      return why_.refuse("a segment has an impossible address");
    if (where->begin < segments_end_) return why_.refuse("the segments overlap or are out of order");
    segments_end_ = where->end;
    if (where->overlaps({h_.window_address, h_.window_address + h_.window_size}))
      return why_.refuse("segment ", address_range{where->begin, where->end},
                         " lies where the restarter is");
    const bool shared = s.kind == state::segment_kind::shared;
    if (shared != (s.object != 0) || s.object > state::max_objects)
      return why_.refuse("a segment belongs to an impossible object");
    if (shared) {
      const auto part = range::at(s.file_offset, s.length);
      if (!part || !is_page_aligned(part->begin) || part->end > state::largest_object)
        return why_.refuse("a segment shows an impossible part of its object");
      mapped_objects_[s.object / 64] |= u64{1} << (s.object % 64);
    }
    return {};
  }

  /// Numbered from 1, in the order of the tables that hold their contents.
  result<void> object(const state::shared_object& o) {
    if (o.number != ++objects_ || objects_ > state::max_objects || o.size > state::largest_object)
      return why_.refuse("the shared objects are malformed");
    return {};
  }

  // These run once for an image, in an agent that has to be small: cold means small code.

  /// What belongs to an object belongs to one that is there, and all of it lies inside.
  [[gnu::cold]] result<void> objects_are_whole(bytes metadata) {
    for (u64 n = objects_ + 1; n <= state::max_objects; ++n)
      if ((mapped_objects_[n / 64] >> (n % 64) & 1) != 0)
        return why_.refuse("a segment belongs to an object that is not there");
    if (objects_ == 0) return {};  // format 1.0 knew deleted files by their contents alone
    if (objects_ != contents_) return why_.refuse("the contents of a shared object are missing");
    u64 number = 0;
    bool good = true;
    format::record_cursor tables(metadata);
    image::for_each<state::shared_object>(metadata, [&](const state::shared_object& o, bytes) {
      ++number;
      while (good && !tables.done()) {
        const auto view = tables.next();
        if (view->type != format::record_type::extents) continue;
        const auto t = as<state::extents>(*view);
        if (t.object == 0) continue;
        if (t.count > 0) {
          const auto last = extent_at(view->tail, t.count - 1);
          good = t.object == number && last.address + last.length <= page_up(o.size);
        }
        return;
      }
      good = false;
    });
    if (!good) return why_.refuse("the contents of a shared object are larger than the object");
    return {};
  }

  result<void> table(const state::extents& t, bytes tail) {
    if (t.object == 0) {
      ++memory_tables_;
      memory_ = tail;
    } else if (t.object != ++contents_) return why_.refuse("file contents are out of order");
    if (t.count > tail.size() / sizeof(state::extent) ||
        tail.size() != t.count * sizeof(state::extent))
      return why_.refuse("a table of extents has the wrong size");
    u64 end = 0;
    for (u64 i = 0; i < t.count; ++i) {
      const auto e = extent_at(tail, i);
      const auto where = range::at(e.address, e.length);
      if (!where || where->empty() || !is_page_aligned(where->begin) ||
          !is_page_aligned(where->end) || where->begin < end || where->end > (u64{1} << 62))
        return why_.refuse("an extent has an impossible address");
      end = where->end;
      if (e.data != data_ || e.length > h_.data_size - data_)
        return why_.refuse("an extent lies outside the data");
      data_ += e.length;
    }
    return {};
  }

  /// Both lists ascend, so one walk is enough.
  result<void> extents_within_segments(bytes metadata) {
    u64 i = 0;
    const u64 n = memory_.size() / sizeof(state::extent);
    bool good = true;
    image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
      const u64 end = s.address + s.length;
      for (; i < n; ++i) {
        const auto e = extent_at(memory_, i);
        if (e.address >= end) break;
        if (e.address < s.address || e.address + e.length > end) good = false;
        if (s.kind == state::segment_kind::vvar || s.kind == state::segment_kind::shared)
          good = false;
      }
    });
    if (!good || i != n) return why_.refuse("an extent lies outside every segment");
    return {};
  }

  /// As above; a trap that lies in no one segment would change memory that is not the program's. What
  /// lies beyond the end of a file has no bytes: nothing could be loaded there.
  [[gnu::cold]] result<void> traps_within_segments(bytes metadata) {
    format::record_cursor segments(metadata);
    range current{};
    u64 i = 0;
    const u64 n = memory_.size() / sizeof(state::extent);
    bool good = true, readable = true;
    image::for_each<state::trap_range>(metadata, [&](const state::trap_range& t, bytes) {
      while (good && current.end <= t.address) {
        if (segments.done()) {
          good = false;
          break;
        }
        const auto view = segments.next();
        if (view->type != format::record_type::segment) continue;
        const auto s = as<state::segment>(*view);
        current = {s.address, s.address + s.length};
        if (s.kind == state::segment_kind::vvar || s.kind == state::segment_kind::vdso)
          current.begin = current.end;
      }
      good = good && t.address >= current.begin && t.address + t.length <= current.end;
      for (; i < n && t.kind == state::trap_kind::beyond_end; ++i) {
        const auto e = extent_at(memory_, i);
        if (e.address + e.length <= t.address) continue;
        readable = readable && e.address >= t.address + t.length;
        break;
      }
    });
    if (!good) return why_.refuse("a range that cannot be touched lies outside every segment");
    if (!readable) return why_.refuse("an extent lies beyond the end of its file");
    return {};
  }

  const format::file_header& h_;
  report& why_;
  bytes memory_;  // the table of object 0
  u64 traps_end_ = 0;
  u64 hosts_ = 0, processes_ = 0, layouts_ = 0, cpus_ = 0, threads_ = 0, memory_tables_ = 0;
  u64 threads_said_ = 0;
  u64 contents_ = 0, wanted_contents_ = 0, segments_end_ = 0, data_ = 0;
  u64 objects_ = 0;
  u64 mapped_objects_[state::max_objects / 64 + 1] = {};
  u32 open_files_ = 0;
  i32 last_descriptor_ = -1;
};

}  // namespace detail

/// Context: any, no libc
inline result<void> validate_metadata(const format::file_header& h, bytes metadata, report& why) {
  if (metadata.size() != h.metadata_size || format::checksum(metadata) != h.metadata_checksum)
    return why.refuse("the metadata is damaged (checksum mismatch)");
  return detail::metadata_rules(h, why).check(metadata);
}

/// Context: any, no libc
inline result<void> validate_trailer(const format::file_header& h, const format::trailer& t,
                                     u64 table_checksum, report& why) {
  if (t.signature != format::trailer_magic || t.id != h.id || t.image_size != h.image_size ||
      t.trailer_checksum != format::own_checksum(t))
    return why.refuse("the end of the image is damaged or belongs to another");
  if (t.table_checksum != table_checksum)
    return why.refuse("the checksums of the data are damaged (checksum mismatch)");
  return {};
}

}  // namespace ckpt::image
