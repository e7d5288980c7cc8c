// SPDX-License-Identifier: MIT
//
// Finds the objects behind shared mappings and unnamed files, each once, however many ways lead
// to it, and gives their bytes. Where a descriptor or a path leads to an object it is read as a
// file. Shared memory has neither, and only its mappings show what it holds; what none of them
// shows at this moment is looked at through one made for that.
#pragma once

#include <cstring>

#include "ckpt/image/metadata_view.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "ckpt/state/files/capture.hpp"
#include "ckpt/state/mapping_kind.hpp"
#include "ckpt/state/shared_memory.hpp"
#include "hidden_parts.hpp"
#include "remote_memory.hpp"
#include "session.hpp"

namespace ckpt::agent {

[[nodiscard]] inline bool is_zero_page(const std::byte* page) {
  const auto* words = reinterpret_cast<const u64*>(page);
  for (u64 i = 0; i < page_size / sizeof(u64); i += 8) {
    const u64 any = words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
                    words[i + 5] | words[i + 6] | words[i + 7];
    if (any != 0) return false;
  }
  return true;
}

/// What smaps tells of the pages behind a mapping, in bytes.
struct mapping_use {
  u64 elsewhere = 0;  // mapped more than once: by another process, or again in this one
  u64 swapped = 0;
};

/// Where bytes go, in order: put_data() and settle() of image::writer, or somebody's who keeps them.
class data_sink {
 public:
  template <class Writer>
  explicit data_sink(Writer& to)
      : to_(&to),
        put_([](void* w, bytes piece) { return static_cast<Writer*>(w)->put_data(piece); }),
        settle_([](void* w) { return static_cast<Writer*>(w)->settle(); }) {}
  result<void> put_data(bytes piece) { return put_(to_, piece); }
  result<void> settle() { return settle_(to_); }

 private:
  void* to_;
  result<void> (*put_)(void*, bytes);
  result<void> (*settle_)(void*);
};

class shared_objects {
 public:
  explicit shared_objects(session& s) : s_(s) {}

  /// Files without a name that are open: their numbers are in the image already.
  // Context: helper, all threads frozen
  result<void> begin(state::files_capture& files) {
    files_ = &files;
    const auto room = CKPT_TRY(s_.arena.take(sizeof(entry) * state::max_objects));
    entries_ = reinterpret_cast<entry*>(room.data());
    for (const auto& file : files.unnamed()) {
      const auto path = CKPT_TRY(files.shown_path(file.descriptor));
      entry& e = entries_[count_++] = entry{};
      const bool memory = path.starts_with("/memfd:");
      e.kind = memory ? state::object_kind::memfd : state::object_kind::deleted;
      CKPT_TRY(keep_path(e, memory ? path : maps::without_deleted(path)));
      e.device = file.st.st_dev, e.inode = file.st.st_ino;
      e.descriptor = file.descriptor;
      e.number = count_;
      e.writable = true;
      take_stat(e, file.st);
      const sys::unique_fd fd(files.reopen(file.descriptor).value_or(-1));
      if (memory && fd) e.seals = seals_of(fd.get());
    }
    return {};
  }

  /// The provisional number of the object behind a shared mapping; 0 for a file that the program
  /// only reads and that is as good as a copy.
  // Context: helper, all threads frozen
  result<u64> add_mapping(const maps::mapping_head& head, std::string_view shown,
                          maps::vm_flags flags, mapping_use use) {
    const bool may_write = flags.has(maps::vm_flag::may_write);
    entry* e = find(head);
    if (e == nullptr) {
      if (count_ == state::max_objects)
        return s_.why.refuse("more than ", state::max_objects,
                             " shared mappings of different files");
      e = &entries_[count_];
      *e = entry{};
      e->device = head.device, e->inode = head.inode;
      const bool known = CKPT_TRY(identify(*e, head, shown, may_write));
      if (!known) return u64{0};
      ++count_;
    }
    const u64 end = head.offset + head.where.length();
    if (e->mapped.empty()) e->mapped = {head.offset, end};
    if (head.offset < e->mapped.begin) e->mapped.begin = head.offset;
    if (end > e->mapped.end) e->mapped.end = end;
    e->writable = e->writable || may_write;
    e->may_write = e->may_write || may_write;
    e->no_reserve = e->no_reserve || flags.has(maps::vm_flag::no_reserve);
    ++e->mappings;
    e->elsewhere += use.elsewhere;
    e->swapped += use.swapped;
    return static_cast<u64>(e - entries_) + 1;
  }

  /// Keeps bytes behind a shared mapping out of the image.
  // Context: helper, all threads frozen
  result<void> hide(const maps::mapping_head& head, region_view regions) {
    return hidden_.add(s_, head, regions);
  }

  /// Gives objects their numbers and the segments theirs, and describes them.
  // Context: helper, all threads frozen
  result<void> settle(bytes segments) {
    segments_ = segments;
    CKPT_TRY(remote_.open());
    u64 number = 0;
    for (u64 i = 0; i < count_; ++i) {
      entry& e = entries_[i];
      if (e.writable) e.number = ++number;
    }
    renumber(segments);
    for (u64 i = 0; i < count_; ++i)
      if (entries_[i].number != 0) CKPT_TRY(describe(entries_[i]));
    return {};
  }

  // Context: helper, all threads frozen
  result<void> describe_contents(u64& data_size) {
    buffer_ = CKPT_TRY(s_.arena.take(buffer_size));
    for (u64 i = 0; i < count_; ++i) {
      const entry& e = entries_[i];
      if (e.number == 0) continue;
      state::extents table{};
      table.object = e.number;
      CKPT_TRY(s_.metadata.begin(table));
      extent_ = {};
      const auto add_run = [&](range run) -> result<void> {
        if (extent_.end == run.begin && !extent_.empty()) {
          extent_.end = run.end;
          return {};
        }
        CKPT_TRY(flush(table, data_size));
        extent_ = run;
        return {};
      };
      const auto add = [&](range run) -> result<void> {
        if (!hides(e, run)) return add_run(run);
        for (u64 at = run.begin; at < run.end; at += page_size)
          if (!hidden_.covers(e.device, e.inode, {at, at + page_size}))
            CKPT_TRY(add_run({at, at + page_size}));
        return {};
      };
      auto found = each_run(e, add);
      if (found.ok()) found = flush(table, data_size);
      if (!found.ok()) return s_.why.explain(found.error(), "cannot read ", quoted{path_of(e)});
      s_.metadata.amend(table);
      CKPT_TRY(s_.metadata.end());
    }
    return {};
  }

  /// Gives the bytes of an object's extents, in order.
  // Context: helper, all threads frozen
  result<void> write(u64 number, bytes extents, data_sink writer) {
    for (u64 i = 0; i < count_; ++i) {
      if (entries_[i].number != number) continue;
      const auto outcome = write(entries_[i], extents, writer);
      if (!outcome.ok())
        return s_.why.explain(outcome.error(), "cannot read ", quoted{path_of(entries_[i])});
    }
    return {};
  }

  /// The file behind a mapping, to be read where it has data: by its path, by a descriptor, or, for
  /// whoever may, by the mapping itself. errc::not_found when nothing leads there.
  // Context: helper, all threads frozen
  result<int> open_mapped(range where, std::string_view path, u64 device, u64 inode) {
    sys::abi::stat st{};
    if (path.starts_with('/') && leads_to(path, device, inode, st)) {
      const auto fd = open_to_read(path_.c_str());
      if (fd.ok()) return fd;
      device = st.st_dev;
    }
    if (const auto open = files_->look_for(device, inode); open.descriptor >= 0) {
      const auto fd = files_->reopen(open.descriptor);
      if (fd.ok()) return fd;
    }
    char digits[64];
    path_.clear();
    path_.append("/proc/self/map_files/").append(bare_hex(where.begin, digits)).append('-');
    path_.append(bare_hex(where.end, digits));
    const auto fd = open_to_read(path_.c_str());
    return fd.ok() ? fd : result<int>(errc::not_found);
  }

 private:
  struct entry {
    state::object_kind kind;
    u64 number;  // 0: its mappings come back as copies
    u64 device, inode;
    u64 size;
    i64 modified_ns;
    u32 mode, seals;
    i32 descriptor = -1;
    bool writable;   // by this program, in whatever way
    bool may_write;  // through a mapping
    bool no_reserve;
    bool whole;
    u64 elsewhere, swapped;
    u64 mappings;
    u64 stat_device;  // where stat(2) has another number than maps
    u64 attached;     // of a System V segment, by whomever
    range mapped;     // from the lowest to the highest offset
    const char* path;
    u64 path_length;
  };
  /// A part of an object, and where it can be seen.
  struct piece {
    range where;      // offsets in the object
    u64 address = 0;  // 0: no mapping shows it
    bool readable = false;
  };
  static constexpr u64 buffer_size = u64{1} << 20;
  static constexpr u64 pages_at_once = 4096;
  static constexpr u64 worth_asking = u64{4} << 30;

  static std::string_view path_of(const entry& e) { return {e.path, e.path_length}; }
  static std::string_view bare_hex(u64 value, char (&to)[64]) {
    u64 at = sizeof to;
    do {
      to[--at] = "0123456789abcdef"[value % 16];
      value /= 16;
    } while (value != 0);
    return {to + at, sizeof to - at};
  }
  static result<int> open_to_read(const char* path) {
    return sys::openat(
        sys::abi::at_fdcwd, path,
        sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock | sys::abi::o_noctty);
  }
  static u32 seals_of(int fd) {
    constexpr int get_seals = 1034;
    return static_cast<u32>(sys::fcntl(fd, get_seals, 0).value_or(1 /* F_SEAL_SEAL */));
  }
  static void take_stat(entry& e, const sys::abi::stat& st) {
    e.size = static_cast<u64>(st.st_size);
    e.mode = st.st_mode;
    e.modified_ns = static_cast<i64>(st.st_mtime_sec * 1'000'000'000 + st.st_mtime_nsec);
  }

  // --- which objects there are ---------------------------------------------------------------
  entry* find(const maps::mapping_head& head) {
    for (u64 i = 0; i < count_; ++i)
      if (entries_[i].inode == head.inode && entries_[i].device == head.device) return &entries_[i];
    return nullptr;
  }

  result<void> keep_path(entry& e, std::string_view path) {
    if (names_.size() < path.size() + 1) names_ = CKPT_TRY(s_.arena.take(u64{64} * 1024));
    std::memcpy(names_.data(), path.data(), path.size());
    e.path = reinterpret_cast<const char*>(names_.data());
    e.path_length = path.size();
    names_ = names_.subspan(path.size());
    return {};
  }

  bool leads_to(std::string_view path, u64 device, u64 inode, sys::abi::stat& st) {
    path_.clear();
    path_.append(path);
    return sys::newfstatat(sys::abi::at_fdcwd, path_.c_str(), st, 0).ok() &&
           state::is_mapped_file(st, device, inode);
  }

  /// False for one that need not be an object.
  [[gnu::cold]] result<bool> identify(entry& e, const maps::mapping_head& head, std::string_view shown,
                        bool may_write) {
    fixed_text<4200> name;
    name.append(shown);
    const auto path = maps::unescape({const_cast<char*>(name.view().data()), name.view().size()});
    sys::abi::stat st{};
    if (path.starts_with('/') && leads_to(path, head.device, head.inode, st)) {
      const auto open = files_->look_for(st.st_dev, st.st_ino);
      e.kind = state::object_kind::named;
      e.writable = open.writable;
      e.descriptor = open.descriptor;
      take_stat(e, st);
      e.stat_device = st.st_dev;
      CKPT_TRY(keep_path(e, path));
      return true;
    }
    e.kind = CKPT_TRY(state::kind_of_object(head, shown, path, may_write, s_.why));
    if (e.kind == state::object_kind{}) return false;
    if (e.kind == state::object_kind::system_v) CKPT_TRY(look_at_system_v(e, head, shown));
    if (e.kind == state::object_kind::memfd || e.kind == state::object_kind::deleted) {
      const sys::unique_fd fd(open_mapped(head.where, {}, head.device, head.inode).value_or(-1));
      if (fd && sys::fstat(fd.get(), st).ok()) {
        take_stat(e, st);
        if (e.kind == state::object_kind::deleted && st.st_nlink != 0)
          return state::refuse_other_name(head, shown, s_.why);
        if (e.kind == state::object_kind::memfd) e.seals = seals_of(fd.get());
      } else {
        e.seals = 1;  // without a descriptor nobody can ask
      }
      CKPT_TRY(
          keep_path(e, e.kind == state::object_kind::memfd ? path : maps::without_deleted(path)));
      return true;
    }
    CKPT_TRY(keep_path(e, path));
    return true;
  }

  result<void> look_at_system_v(entry& e, const maps::mapping_head& head, std::string_view shown) {
    const auto found = state::look_at_system_v(head.inode);
    if (!found.ok() || !found->removed) return state::refuse_system_v(head, shown, s_.why);
    e.size = found->size;
    e.mode = found->mode;
    e.attached = found->attached;
    return {};
  }

  /// From provisional to final numbers, in the records themselves.
  void renumber(bytes segments) {
    format::record_cursor cursor(segments);
    while (!cursor.done()) {
      const auto view = cursor.next();
      if (!view.ok()) return;
      auto record = wire::decode<state::segment>(view->fixed);
      if (view->type != format::record_type::segment || !record.ok()) continue;
      if (record->kind != state::segment_kind::shared) continue;
      record->object = entries_[record->object - 1].number;
      if (record->object == 0) record->kind = state::segment_kind::shared_file;
      std::memcpy(const_cast<std::byte*>(view->fixed.data()), &*record, sizeof *record);
    }
  }

  [[gnu::cold]] result<void> describe(entry& e) {
    const bool memory =
        e.kind == state::object_kind::anonymous || e.kind == state::object_kind::system_v;
    // An empty file that is only open is empty.
    if (memory || (e.size == 0 && !e.mapped.empty())) CKPT_TRY(find_size(e));
    if (e.kind != state::object_kind::named && e.may_write && e.elsewhere != 0 && !maps_twice(e))
      return state::refuse_mapped_elsewhere(path_of(e), s_.why);
    if (e.kind == state::object_kind::system_v && e.attached > mappings_of(e))
      return state::refuse_attached_elsewhere(path_of(e), s_.why);
    if (e.kind == state::object_kind::named) CKPT_TRY(refuse_zeros(e));
    e.whole = e.kind != state::object_kind::named || covers_all(e);
    state::shared_object o{};
    o.number = e.number;
    o.kind = e.kind;
    if (e.may_write) o.flags.set(state::object_flag::mapped_writable);
    if (e.whole) o.flags.set(state::object_flag::whole);
    if (e.no_reserve) o.flags.set(state::object_flag::no_reserve);
    o.size = e.size;
    o.device = e.stat_device != 0 ? e.stat_device : e.device;
    o.inode = e.inode;
    o.modified_ns = e.modified_ns;
    o.mode = e.mode;
    o.seals = e.seals;
    return s_.metadata.add(o, bytes_of_text(path_of(e)));
  }

  template <class Visitor>
  void each_segment(const entry& e, Visitor&& visit) const {
    image::for_each<state::segment>(segments_, [&](const state::segment& s, bytes) {
      if (s.object == e.number && s.kind == state::segment_kind::shared) visit(s);
    });
  }
  /// Those that are not mapped again, too.
  u64 mappings_of(const entry& e) const {
    u64 n = e.mappings;
    hidden_.for_each(e.device, e.inode, [&](const hidden_parts::part& p) {
      if (p.omitted && p.whole) ++n;
    });
    return n;
  }
  /// The file outside has the bytes; zeros in the image would go into it in a restart.
  result<void> refuse_zeros(const entry& e) {
    u64 address = 0;
    hidden_.for_each(e.device, e.inode, [&](const hidden_parts::part& p) {
      if (!p.omitted) address = p.address;
    });
    if (address == 0) return {};
    return s_.why.refuse("memory at ", hex{address}, " is to be zero in the image and is a shared "
                         "mapping of ", quoted{path_of(e)}, ", which would lose the bytes in a "
                         "restart; say CKPT_REGION_OMIT, or map a file without a name");
  }
  [[nodiscard]] bool hides(const entry& e, range where) const {
    return e.kind != state::object_kind::named && hidden_.touches(e.device, e.inode, where);
  }
  void wipe(const entry& e, u64 offset, mutable_bytes copy) const {
    if (e.kind != state::object_kind::named) hidden_.wipe(e.device, e.inode, offset, copy);
  }
  /// Whether this program itself sees some part of it in two places, privately or shared.
  bool maps_twice(const entry& e) const {
    bool twice = false;
    each_segment(e, [&](const state::segment& a) {
      const range first{a.file_offset, a.file_offset + a.length};
      image::for_each<state::segment>(segments_, [&](const state::segment& b, bytes) {
        twice = twice || (a.address != b.address && b.inode == e.inode && b.device == e.device &&
                          first.overlaps({b.file_offset, b.file_offset + b.length}));
      });
    });
    hidden_.for_each(e.device, e.inode,
                     [&](const hidden_parts::part& p) { twice = twice || p.omitted; });
    return twice;
  }
  bool covers_all(const entry& e) const {
    for (u64 at = 0; at < page_up(e.size);) {
      const auto p = piece_at(e, at);
      if (p.address == 0) return false;
      at = p.where.end;
    }
    return true;
  }

  /// Shared memory ends where its pages do: a mapping may show less of it, or have been made to
  /// reach beyond its end.
  result<void> find_size(entry& e) {
    if (e.kind == state::object_kind::system_v) return {};
    u64 low = 0;              // pages of it that are there
    u64 high = e.mapped.end;  // a page that is not, or the end of what is known
    const auto there = [&](u64 offset) -> result<bool> {
      const auto p = piece_at(e, offset, true);
      if (p.address != 0) return can_be_read(p.address);
      const u64 at = CKPT_TRY(look_beyond(e, offset));
      return can_be_read(at);
    };
    const auto beyond = there(high);
    if (beyond.ok() && *beyond) {
      u64 step = page_size;
      do {
        low = high + page_size;
        high = low + step;
        step *= 2;
      } while (CKPT_TRY(there(high)));
    } else if (CKPT_TRY(there(high - page_size))) {
      low = high;
    }
    while (low < high) {
      const u64 middle = page_down(low + (high - low) / 2);
      if (CKPT_TRY(there(middle)))
        low = middle + page_size;
      else
        high = middle;
    }
    e.size = low;
    return {};
  }
  bool can_be_read(u64 address) {
    std::byte one;
    return remote_.read(address, mutable_bytes(&one, 1)) == 1;
  }

  // --- what they hold ------------------------------------------------------------------------
  /// The mapping that shows that offset, the one that can be read in place before all others.
  /// One with guard pages shows them instead of the object, so it is no good `to_read`.
  piece piece_at(const entry& e, u64 offset, bool to_read = false) const {
    piece best;
    best.where = {offset, ~u64{0}};
    each_segment(e, [&](const state::segment& s) {
      const range shown{s.file_offset, s.file_offset + s.length};
      const bool guarded = maps::vm_flags::from_bits(s.vm_flags).has(maps::vm_flag::maybe_guard);
      if (guarded && to_read) return;
      if (!shown.contains(offset)) {
        if (best.address == 0 && shown.begin > offset && shown.begin < best.where.end)
          best.where.end = shown.begin;
        return;
      }
      const bool readable = s.protection.has(state::protection::read);
      if (best.address != 0 && (best.readable || !readable)) return;
      best.where.end = shown.end;
      best.address = s.address + (offset - s.file_offset);
      best.readable = readable;
    });
    return best;
  }

  /// A mapping of ours, in the arena, that shows one window of an object which no mapping of the
  /// program shows. remap_file_pages(2) is the one call that reaches any part of an object without
  /// a descriptor.
  result<u64> look_beyond(const entry& e, u64 offset) {
    if (view_.empty()) view_ = CKPT_TRY(s_.arena.take(pages_at_once * page_size));
    const u64 at = reinterpret_cast<u64>(view_.data());
    constexpr int map_nonblock = 0x10000;  // without it every page would be made
    if (view_of_ != &e) {
      u64 source = 0;
      each_segment(e, [&](const state::segment& s) {
        if (maps::vm_flags::from_bits(s.vm_flags).has(maps::vm_flag::shared)) source = s.address;
      });
      if (source == 0) return errc::not_found;
      // One page first: what is locked in the program would be filled.
      CKPT_TRY(sys::munmap(at, view_.size()));
      CKPT_TRY(
          sys::mremap(source, 0, page_size, sys::abi::mremap_maymove | sys::abi::mremap_fixed, at));
      (void)sys::munlock(at, page_size);
      CKPT_TRY(sys::mremap(at, page_size, view_.size(), 0));
      CKPT_TRY(sys::mprotect(at, view_.size(), sys::abi::prot_read));
      view_of_ = &e;
    }
    CKPT_TRY(sys::checked<void>(
        sys::invoke(__NR_remap_file_pages, at, view_.size(), 0, offset / page_size, map_nonblock)));
    return at;
  }

  result<piece> visible_at(const entry& e, u64 offset) {
    auto p = piece_at(e, offset, true);
    const u64 end = page_up(e.size);
    if (p.where.end > end) p.where.end = end;
    if (p.address != 0) return p;
    const u64 window = offset + pages_at_once * page_size;
    if (p.where.end > window) p.where.end = window;
    p.address = CKPT_TRY(look_beyond(e, offset));
    p.readable = true;
    return p;
  }

  sys::unique_fd open_object(const entry& e) {
    if (e.descriptor >= 0) {
      sys::unique_fd fd(files_->reopen(e.descriptor).value_or(-1));
      if (fd) return fd;
    }
    sys::unique_fd fd;
    const bool memory =
        e.kind == state::object_kind::anonymous || e.kind == state::object_kind::system_v;
    // Read in place it costs less, unless it is so large that holes are most of it.
    if (memory && e.size < worth_asking) return fd;
    each_segment(e, [&](const state::segment& s) {
      if (fd) return;
      const bool named = e.kind == state::object_kind::named;
      fd = sys::unique_fd(open_mapped({s.address, s.address + s.length},
                                      named ? path_of(e) : std::string_view(), e.device, e.inode)
                              .value_or(-1));
    });
    return fd;
  }

  /// visit(range of offsets) for what holds something, ascending, whole pages.
  template <class Visitor>
  result<void> each_run(const entry& e, Visitor&& visit) {
    if (const auto fd = open_object(e); fd) return each_run_of_file(e, fd.get(), visit);
    for (u64 at = 0; at < page_up(e.size);) {
      if (e.kind == state::object_kind::named) {
        const auto p = piece_at(e, at);
        if (p.address == 0) {
          at = p.where.end;
          continue;
        }
      }
      const auto p = CKPT_TRY(visible_at(e, at));
      CKPT_TRY(each_page_run(e, p, visit));
      at = p.where.end;
    }
    return {};
  }

  template <class Visitor>
  result<void> each_run_of_file(const entry& e, int fd, Visitor&& visit) {
    const u64 size = e.size;
    for (u64 at = 0; at < size;) {
      u64 limit = size;
      if (e.kind == state::object_kind::named) {
        const auto p = piece_at(e, at);
        if (p.address == 0) {
          at = p.where.end;
          continue;
        }
        if (p.where.end < limit) limit = p.where.end;
      }
      const auto begin = sys::lseek(fd, static_cast<i64>(at), sys::abi::seek_data);
      constexpr auto only_a_hole_left = static_cast<errc>(6);  // ENXIO
      if (!begin.ok() && begin.error() == only_a_hole_left) return {};
      // A file system that does not know its holes has none.
      u64 from = begin.ok() ? static_cast<u64>(*begin) : at;
      const auto hole = sys::lseek(fd, static_cast<i64>(from), sys::abi::seek_hole);
      u64 to = hole.ok() ? static_cast<u64>(*hole) : size;
      if (to > limit) to = limit;
      if (from >= limit) {
        at = limit;
        continue;
      }
      from = page_down(from);
      to = page_up(to);
      CKPT_TRY(visit(range{from, to}));
      at = to;
    }
    return {};
  }

  /// A page of shared memory that was never written is not there; to touch it would make it. Only
  /// where pages are swapped out, which mincore(2) takes for missing, or belong to a file on a
  /// disk, all are read.
  template <class Visitor>
  result<void> each_page_run(const entry& e, const piece& p, Visitor&& visit) {
    const bool all = e.swapped != 0 || e.kind == state::object_kind::deleted ||
                     e.kind == state::object_kind::named;
    u8 present[pages_at_once];
    for (u64 at = p.where.begin; at < p.where.end;) {
      const u64 address = p.address + (at - p.where.begin);
      const u64 left = (p.where.end - at) / page_size;
      const u64 n = left < pages_at_once ? left : pages_at_once;
      CKPT_TRY(sys::mincore(address, n * page_size, present));
      for (u64 i = 0; i < n; ++i) {
        const bool there = (present[i] & 1) != 0;
        if (!all && !there) continue;
        const u64 page = address + i * page_size;
        const u64 offset = at + i * page_size;
        if (!p.readable || !there) {
          const auto part = buffer_.first(page_size);
          if (remote_.read(page, part) != page_size)
            return s_.why.refuse("memory at ", hex{page}, " cannot be read (a disk error?)");
          if (is_zero_page(part.data())) {
            constexpr int madv_remove = 9;  // what was only made by reading it
            if (!there && e.kind != state::object_kind::named)
              (void)sys::madvise(page, page_size, madv_remove);
            continue;
          }
        } else if (is_zero_page(reinterpret_cast<const std::byte*>(page))) {
          continue;
        }
        CKPT_TRY(visit(range{offset, offset + page_size}));
      }
      at += n * page_size;
    }
    return {};
  }

  result<void> flush(state::extents& table, u64& data_size) {
    if (extent_.empty()) return {};
    state::extent x{};
    x.address = extent_.begin;
    x.length = extent_.length();
    x.data = data_size;
    data_size += extent_.length();
    table.count = table.count + 1;
    extent_ = {};
    return s_.metadata.append(bytes_of(x));
  }

  result<void> write(const entry& e, bytes extents, data_sink& writer) {
    const auto fd = open_object(e);
    sys::linux_files kernel;
    const u64 n = extents.size() / sizeof(state::extent);
    piece p;
    for (u64 i = 0; i < n; ++i) {
      const auto x = image::extent_at(extents, i);
      for (u64 at = x.address; at < x.address + x.length;) {
        u64 length = x.address + x.length - at;
        if (!fd) {
          if (!p.where.contains(at)) {
            CKPT_TRY(writer.settle());  // the view may move
            p = CKPT_TRY(visible_at(e, at));
          }
          if (length > p.where.end - at) length = p.where.end - at;
          if (p.readable && !hides(e, {at, at + length})) {
            CKPT_TRY(writer.put_data(
                {reinterpret_cast<const std::byte*>(p.address + (at - p.where.begin)), length}));
            at += length;
            continue;
          }
        }
        if (length > buffer_.size()) length = buffer_.size();
        const auto part = buffer_.first(length);
        CKPT_TRY(writer.settle());  // the buffer may still be in use
        if (fd) {
          // The last page of a file ends before the page does.
          const u64 got = CKPT_TRY(sys::pread_up_to(kernel, fd.get(), part, at));
          std::memset(part.data() + got, 0, length - got);
        } else if (remote_.read(p.address + (at - p.where.begin), part) != length) {
          return errc::io;
        }
        wipe(e, at, part);
        CKPT_TRY(writer.put_data(part));
        at += length;
      }
    }
    return writer.settle();
  }

  session& s_;
  state::files_capture* files_ = nullptr;
  entry* entries_ = nullptr;
  u64 count_ = 0;
  bytes segments_;
  hidden_parts hidden_;
  mutable_bytes names_;
  mutable_bytes buffer_;
  mutable_bytes view_;
  const entry* view_of_ = nullptr;
  range extent_;
  remote_memory remote_;
  fixed_text<4300> path_;
};

}  // namespace ckpt::agent
