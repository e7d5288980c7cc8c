// SPDX-License-Identifier: MIT
//
// The frozen program's memory: which mappings there are, what each becomes in the image, and which
// of their pages hold anything. Zero pages and pages never touched cost nothing.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/image/metadata_view.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "session.hpp"
#include "shared_objects.hpp"

namespace ckpt::agent {

/// Memory of ours that no image contains: the arena has no place in the map at all, the scratch
/// keeps its place and is zero.
struct own_memory {
  range arena;
  range scratch;
};

/// Turns the lines of smaps into segments. The handler of maps::parser.
class segment_recorder {
 public:
  segment_recorder(format::metadata_builder& out, own_memory own, shared_objects& objects,
                   report& why)
      : out_(out), own_(own), objects_(objects), why_(why) {}

  result<void> on_mapping(const maps::mapping_head& head) {
    head_ = head;
    name_.clear();
    flags_ = {};
    huge_bytes_ = 0;
    use_ = {};
    return {};
  }
  result<void> on_name(std::string_view piece) {
    name_.append(piece);
    return {};
  }
  result<void> on_kilobytes(std::string_view key, u64 kilobytes) {
    if (key == "AnonHugePages") huge_bytes_ = kilobytes * 1024;
    if (key == "Shared_Clean" || key == "Shared_Dirty") use_.elsewhere += kilobytes * 1024;
    if (key == "Swap") use_.swapped += kilobytes * 1024;
    return {};
  }
  result<void> on_flags(maps::vm_flags flags) {
    flags_ = flags;
    return {};
  }
  result<void> on_mapping_end() {
    const auto kind = CKPT_TRY(classify());
    if (kind == no_segment) return {};
    // The arena may have merged with a neighbour: what lies on either side is the program's.
    const range below = head_.where.intersect({0, own_.arena.begin});
    const range above = head_.where.intersect({own_.arena.end, ~u64{0}});
    if (!head_.where.overlaps(own_.arena)) return add(kind, head_.where);
    if (!below.empty()) CKPT_TRY(add(kind, below));
    if (!above.empty()) CKPT_TRY(add(kind, above));
    return {};
  }

 private:
  using kind_t = state::segment_kind;
  static constexpr kind_t no_segment = kind_t{};

  errc refuse(std::string_view what) {
    return why_.refuse("memory at ", address_range{head_.where.begin, head_.where.end}, " is ", what,
                       " (", quoted{name_.view()}, "), which cannot be saved");
  }

  result<kind_t> classify() {
    using maps::vm_flag;
    switch (maps::special_of(name_.view())) {
      case maps::special::vsyscall:
      case maps::special::uprobes: return no_segment;
      case maps::special::vvar: return kind_t::vvar;
      case maps::special::vdso: return kind_t::vdso;
      default: break;
    }
    // A program that may map page 0 is root's; here it would be a null pointer.
    if (head_.where.begin < page_size) return refuse("at address 0");
    if (flags_.has(vm_flag::huge_tlb)) return refuse("made of hugetlb pages");
    if (flags_.has(vm_flag::shadow_stack)) return refuse("a shadow stack");
    switch (maps::backing_of(name_.view())) {
      case maps::backing::secret: return refuse("secret memory");
      case maps::backing::aio_ring: return refuse("an asynchronous I/O ring");
      case maps::backing::anon_inode: return refuse("a mapping of a kernel object");
      case maps::backing::huge_pages:
        return refuse("made of hugetlb pages");
      default: break;
    }
    if (flags_.has(vm_flag::io) || flags_.has(vm_flag::pure_pfn))
      return refuse("a mapping of a device");
    if (head_.shared) {
      object_ = CKPT_TRY(objects_.add_mapping(head_, name_.view(), flags_, use_));
      return object_ != 0 ? kind_t::shared : kind_t::shared_file;
    }
    if (flags_.has(vm_flag::grows_down)) return kind_t::stack;
    // A private mapping of /dev/zero is anonymous memory by another way.
    if (name_.view() == "/dev/zero") return kind_t::anonymous;
    return head_.inode != 0 || maps::backing_of(name_.view()) != maps::backing::memory
               ? kind_t::private_file
               : kind_t::anonymous;
  }

  result<void> add(kind_t kind, range where) {
    state::segment s{};
    s.address = where.begin;
    s.length = where.length();
    s.kind = kind;
    s.protection = wire::flags<state::protection>(head_.protection);
    s.vm_flags = flags_.bits();
    s.huge_bytes = huge_bytes_;
    s.file_offset = head_.inode != 0 ? head_.offset + (where.begin - head_.where.begin) : 0;
    s.device = head_.device;
    s.inode = head_.inode;
    s.object = kind == kind_t::shared ? object_ : 0;
    return out_.add(s, bytes_of_text(name_.view()));
  }

  format::metadata_builder& out_;
  own_memory own_;
  maps::mapping_head head_;
  maps::vm_flags flags_;
  u64 huge_bytes_ = 0;
  shared_objects& objects_;
  mapping_use use_;
  report& why_;
  u64 object_ = 0;
  fixed_text<4200> name_;  // cut where a path is longer than PATH_MAX; it is only shown
};

/// Which pages exist and which are guards, by PAGEMAP_SCAN (6.7) or by reading /proc/self/pagemap.
class page_finder {
 public:
  enum class what : u8 { present, swapped, guard };

  result<void> open() {
    fd_ = sys::unique_fd(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, "/proc/self/pagemap",
                                              sys::abi::o_rdonly | sys::abi::o_cloexec)));
    return {};
  }

  /// Before 6.15 nothing tells a guard page from a swapped one; then nothing is called a guard.
  [[nodiscard]] bool knows_guards() const { return !no_guards_; }

  /// Calls visit(range, what) for each run of pages that are not empty, in order.
  template <class Visitor>
  result<void> for_each(range where, Visitor&& visit) {
    if (!no_scan_) {
      const auto outcome = scan(where, visit);
      if (outcome.ok()) return {};
      if (outcome.error() != not_there_) return outcome;
      no_scan_ = true;
      no_guards_ = false;
    }
    return read_entries(where, visit);
  }

 private:
  static constexpr errc not_there_ = static_cast<errc>(25);  // ENOTTY: no such ioctl

  template <class Visitor>
  result<void> scan(range where, Visitor&& visit) {
    sys::abi::page_region regions[256];
    u64 at = where.begin;
    while (at < where.end) {
      sys::abi::pm_scan_arg arg{};
      arg.size = sizeof arg;
      arg.start = at;
      arg.end = where.end;
      arg.vec = reinterpret_cast<u64>(&regions[0]);
      arg.vec_len = 256;
      const u64 guard = no_guards_ ? 0 : sys::abi::page_is_guard;
      arg.category_anyof_mask = sys::abi::page_is_present | sys::abi::page_is_swapped | guard;
      arg.return_mask = arg.category_anyof_mask | sys::abi::page_is_pfnzero;
      const auto found = sys::ioctl(fd_.get(), sys::abi::pagemap_scan_ioctl, &arg);
      if (!found.ok()) {
        if (found.error() == errc::interrupted) continue;
        if (found.error() != errc::invalid || no_guards_) return found.error();
        no_guards_ = true;
        continue;
      }
      for (long i = 0; i < *found; ++i) {
        const auto& r = regions[i];
        if ((r.categories & sys::abi::page_is_pfnzero) != 0) continue;
        const auto is = (r.categories & sys::abi::page_is_guard) != 0     ? what::guard
                        : (r.categories & sys::abi::page_is_present) != 0 ? what::present
                                                                          : what::swapped;
        CKPT_TRY(visit(range{r.start, r.end}, is));
      }
      if (arg.walk_end <= at) break;
      at = arg.walk_end;
    }
    return {};
  }

  template <class Visitor>
  result<void> read_entries(range where, Visitor&& visit) {
    u64 entries[512];
    sys::linux_files kernel;
    range run{0, 0};
    what run_is = what::present;
    const auto flush = [&]() -> result<void> {
      if (run.empty()) return {};
      return visit(run, run_is);
    };
    for (u64 at = where.begin; at < where.end;) {
      const u64 pages = (where.end - at) / page_size;
      const u64 n = pages < 512 ? pages : 512;
      CKPT_TRY(sys::pread_up_to(kernel, fd_.get(),
                                std::as_writable_bytes(std::span(entries, n)),
                                at / page_size * sizeof(u64)));
      for (u64 i = 0; i < n; ++i, at += page_size) {
        // Bit 63 present, 62 swapped, 58 guard (since 6.15).
        if (entries[i] >> 62 == 0) continue;
        const auto is = (entries[i] >> 58 & 1) != 0   ? what::guard
                        : (entries[i] >> 63 & 1) != 0 ? what::present
                                                      : what::swapped;
        if (run.end != at || run_is != is) {
          CKPT_TRY(flush());
          run = {at, at};
          run_is = is;
        }
        run.end = at + page_size;
      }
    }
    return flush();
  }

  sys::unique_fd fd_;
  bool no_scan_ = false;
  bool no_guards_ = false;
};

/// Finds the pages worth saving and gives their bytes.
class memory_capture {
 public:
  memory_capture(session& s, own_memory own) : s_(s), own_(own) {}

  /// Appends a record for every mapping.
  // Context: helper, all threads frozen
  result<void> capture_segments(shared_objects& objects) {
    objects_ = &objects;
    const u64 first = s_.metadata.size();
    const sys::unique_fd smaps(sys::openat(sys::abi::at_fdcwd, "/proc/self/smaps",
                                           sys::abi::o_rdonly | sys::abi::o_cloexec)
                                   .value_or(-1));
    if (!smaps) return s_.why.refuse("cannot open /proc/self/smaps (is /proc mounted?)");
    segment_recorder recorder(s_.metadata, own_, objects, s_.why);
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
        outcome = pieces.for_each({seg.address, seg.address + seg.length},
                                  [&](range piece) { return find_pages(seg, piece); });
      if (outcome.ok()) outcome = flush_extent();  // an extent lies in one segment
    });
    CKPT_TRY(outcome);
    table.count = count_;
    s_.metadata.amend(table);
    return s_.metadata.end();
  }

  [[nodiscard]] u64 data_size() const { return data_; }

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
        outcome = in_place(seg) ? writer.put_data({reinterpret_cast<const std::byte*>(e.address.get()),
                                                   e.length})
                                : write_remote(e, writer);
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
        if (!own_.scratch.contains(at) && !is_zero_page(reinterpret_cast<const std::byte*>(at)))
          CKPT_TRY(add_page(at));
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

  template <class Writer>
  result<void> write_remote(const state::extent& e, Writer& writer) {
    for (u64 done = 0; done < e.length;) {
      const u64 left = e.length - done;
      const u64 n = left < bounce_size ? left : bounce_size;
      CKPT_TRY(writer.settle());  // the bounce buffer may still be in use
      if (remote_.read(e.address + done, bounce_.first(n)) != n)
        return s_.why.refuse("memory at ", hex{e.address + done}, " became unreadable");
      CKPT_TRY(writer.put_data(bytes(bounce_).first(n)));
      done += n;
    }
    return {};
  }

  session& s_;
  own_memory own_;
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
