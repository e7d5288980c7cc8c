// SPDX-License-Identifier: MIT
//
// Puts shared objects back: makes each once more with what it held, maps it wherever the program
// had it, and keeps a descriptor of those that open files refer to. A file that has a name is the
// one outside: where it differs from what the program saw through its mapping, it is kept beside
// under another name before the saved bytes go into it. check() comes first and changes nothing.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/format/walk.hpp"
#include "ckpt/state/files/beside.hpp"
#include "ckpt/state/files/policy.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/mapping_settings.hpp"
#include "ckpt/state/shared_memory.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

class shared_restore {
 public:
  /// `contents`: those of all objects, one after the other. Their memory is given back as they are
  /// used.
  shared_restore(files_policy policy, bytes metadata, bytes contents, report& why)
      : policy_(policy), metadata_(metadata), contents_(contents), why_(why) {
    for (int& fd : made_) fd = -1;
  }

  /// Goes by other records from now on.
  // Context: agent, in restored memory
  void use(bytes metadata) { metadata_ = metadata; }

  /// Looks, changes nothing.
  // Context: agent, in restored memory
  result<void> check() {
    return each_object([&](const shared_object& o, std::string_view path) -> result<void> {
      if (o.kind != object_kind::named) return {};
      return check_named(o, path);
    });
  }

  /// Whether that open file is one whose contents are put back here.
  [[nodiscard]] bool mends(const open_file& f) const {
    // All of the metadata for each of ten thousand files would take minutes.
    if (!mends_some_) return false;
    bool found = false;
    format::for_each<shared_object>(metadata_, [&](const shared_object& o, bytes) {
      found = found || (o.kind == object_kind::named && o.inode == f.inode &&
                        o.device == f.device && action_[o.number] != action::none);
    });
    return found;
  }

  /// `park(fd)` gives a copy under a number that the program does not use.
  // Context: agent, in restored memory, the descriptors of whoever restarts out of the way
  template <class Park>
  result<void> restore(Park&& park) {
    CKPT_TRY(each_object([&](const shared_object& o, std::string_view path) -> result<void> {
      const auto outcome = restore_object(o, path, park);
      if (!outcome.ok())
        return why_.explain(outcome.error(), "cannot make ", noun(o), ' ', quoted{path}, " again");
      return {};
    }));
    return mend_read_only();
  }

  /// A descriptor of the object with that number, -1 when no open file refers to it.
  [[nodiscard]] int descriptor_of(u64 number) const {
    return number <= max_objects ? made_[number] : -1;
  }

  /// What would have stood in the way of the rest: modes and seals.
  // Context: agent, in restored memory
  result<void> finish() {
    return each_object([&](const shared_object& o, std::string_view path) -> result<void> {
      const int fd = std::exchange(made_[o.number], -1);
      if (fd < 0) return {};
      const auto outcome = finish_file(o, fd);
      (void)sys::close(fd);
      if (!outcome.ok())
        return why_.explain(outcome.error(), "cannot seal ", noun(o), ' ', quoted{path});
      return {};
    });
  }

  [[nodiscard]] bool could_not_lock() const { return could_not_lock_; }

 private:
  enum class action : u8 { none, write_back, create };
  static constexpr u64 step = u64{1} << 20;  // copied at a time, then its source is given back

  static std::string_view noun(const shared_object& o) {
    switch (o.kind.get()) {
      case object_kind::memfd:
        return "memory file";
      case object_kind::deleted:
        return "deleted file";
      case object_kind::named:
        return "mapped file";
      default:
        return "shared memory";
    }
  }

  template <class Visitor>
  result<void> each_object(Visitor&& visit) {
    result<void> outcome;
    format::for_each<shared_object>(metadata_, [&](const shared_object& o, bytes tail) {
      if (outcome.ok()) outcome = visit(o, text_of_bytes(tail));
    });
    return outcome;
  }
  template <class Visitor>
  result<void> each_segment(const shared_object& o, Visitor&& visit) {
    result<void> outcome;
    format::for_each<segment>(metadata_, [&](const segment& s, bytes name) {
      if (outcome.ok() && s.kind == segment_kind::shared && s.object == o.number)
        outcome = visit(s, text_of_bytes(name));
    });
    return outcome;
  }

  const char* terminated(std::string_view path) {
    path_.clear();
    path_.append(path);
    return path_.c_str();
  }

  // --- the saved contents -------------------------------------------------------------------
  /// The extents of one object, and where their bytes begin.
  struct saved {
    bytes table;
    u64 count = 0;
    u64 position = 0;
  };
  saved saved_of(u64 number) {
    saved found;
    u64 position = 0;
    format::for_each<extents>(metadata_, [&](const extents& t, bytes tail) {
      if (t.object == 0) return;
      if (t.object == number) found = {tail, t.count, position};
      for (u64 i = 0; i < t.count; ++i) position += extent_at(tail, i).length;
    });
    return found;
  }
  /// visit(offset, bytes) in pieces of at most `step`, none beyond the object's end.
  template <class Visitor>
  result<void> each_piece(const shared_object& o, const saved& from, Visitor&& visit) {
    u64 position = from.position;
    for (u64 i = 0; i < from.count; ++i) {
      const auto e = extent_at(from.table, i);
      const u64 end = e.address + e.length < o.size ? e.address + e.length : o.size.get();
      for (u64 at = e.address; at < end; at += step)
        CKPT_TRY(visit(
            at, contents_.subspan(position + (at - e.address), end - at < step ? end - at : step)));
      position += e.length;
    }
    return {};
  }
  static bool holds(const saved& in, u64 offset) {
    u64 low = 0, high = in.count;
    while (low < high) {
      const u64 middle = low + (high - low) / 2;
      const auto e = extent_at(in.table, middle);
      if (offset < e.address)
        high = middle;
      else if (offset - e.address < e.length)
        return true;
      else
        low = middle + 1;
    }
    return false;
  }
  /// Copied and never looked at again: a large object is not in memory twice.
  static void give_back(bytes piece) {
    const u64 begin = page_down(reinterpret_cast<u64>(piece.data()));
    (void)sys::madvise(begin, page_up(piece.size()), sys::abi::madv_dontneed);
  }

  // --- files that have a name ---------------------------------------------------------------
  static constexpr std::string_view cure = " (put it back, or restart with --files=keep)";

  [[gnu::cold]] result<void> check_named(const shared_object& o, std::string_view path) {
    sys::abi::stat now{};
    if (auto r = sys::newfstatat(sys::abi::at_fdcwd, terminated(path), now, 0); !r.ok()) {
      if (r.error() != errc::no_entry)
        return why_.explain(r.error(), "cannot look at the mapped file ", quoted{path});
      if (policy_ == files_policy::keep || !o.flags.has(object_flag::whole))
        return why_.refuse("the mapped file ", quoted{path}, " has vanished",
                           policy_ == files_policy::keep ? " (put it back)" : " (put it back)");
      action_[o.number] = action::create;
      mends_some_ = true;
      return {};
    }
    if ((now.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg)
      return why_.refuse("the mapped file ", quoted{path}, " was replaced by something else",
                         " (put it back)");
    const bool keep = policy_ == files_policy::keep;
    const auto opened = open_named(o, path);
    if (!opened.ok())
      return why_.explain(opened.error(), "cannot open the mapped file ", quoted{path},
                          " again (make it accessible and restart)");
    const sys::unique_fd fd(*opened);
    const u64 size = static_cast<u64>(now.st_size);
    if (keep) {
      u64 needed = 0;
      CKPT_TRY(each_segment(o, [&](const segment& s, std::string_view) -> result<void> {
        const u64 end = s.file_offset + s.length < o.size ? s.file_offset + s.length : o.size.get();
        if (end > needed) needed = end;
        return {};
      }));
      if (page_up(size) < page_up(needed))
        return why_.refuse("the mapped file ", quoted{path}, " is too short: ", size,
                           " bytes, and the program has ", needed, " mapped (put it back)");
      return {};
    }
    constexpr auto differs = static_cast<errc>(4095);
    auto same =
        size < o.size || (policy_ == files_policy::rewind && size > o.size)
            ? result<void>(differs)
            : each_difference(o, fd.get(), [&](u64, bytes) -> result<void> { return differs; });
    if (same.ok()) return {};
    if (same.error() != differs)
      return why_.explain(same.error(), "cannot read the mapped file ", quoted{path});
    const i64 modified = static_cast<i64>(now.st_mtime_sec * 1'000'000'000 + now.st_mtime_nsec);
    if ((now.st_dev != o.device || now.st_ino != o.inode) && modified != o.modified_ns)
      return why_.refuse("the mapped file ", quoted{path}, " was replaced by another", cure);
    // Not every file that can be mapped can be written.
    if (auto r = sys::openat(sys::abi::at_fdcwd, terminated(path),
                             sys::abi::o_wronly | sys::abi::o_cloexec | sys::abi::o_noctty);
        !r.ok())
      return why_.explain(r.error(), "the mapped file ", quoted{path},
                          " has changed and cannot be written back");
    else
      (void)sys::close(*r);
    action_[o.number] = action::write_back;
    mends_some_ = true;
    return {};
  }

  result<int> open_named(const shared_object& o, std::string_view path) {
    const bool writable = o.flags.has(object_flag::mapped_writable);
    return sys::openat(sys::abi::at_fdcwd, terminated(path),
                       (writable ? sys::abi::o_rdwr : sys::abi::o_rdonly) | sys::abi::o_cloexec |
                           sys::abi::o_noctty | sys::abi::o_nonblock);
  }

  /// visit(offset, bytes that belong there) for each page or less in which the mapped parts of the
  /// file are not what was saved. Holes on either side are not read.
  template <class Visitor>
  result<void> each_difference(const shared_object& o, int fd, Visitor&& visit) {
    sys::linux_files kernel;
    const saved from = saved_of(o.number);
    std::byte buffer[16 * 1024];
    CKPT_TRY(each_piece(o, from, [&](u64 offset, bytes piece) -> result<void> {
      for (u64 at = 0; at < piece.size(); at += sizeof buffer) {
        const u64 left = piece.size() - at;
        const u64 n = left < sizeof buffer ? left : sizeof buffer;
        const u64 got =
            CKPT_TRY(sys::pread_up_to(kernel, fd, mutable_bytes(buffer, n), offset + at));
        if (got < n || std::memcmp(buffer, piece.data() + at, n) != 0)
          CKPT_TRY(visit(offset + at, piece.subspan(at, n)));
      }
      return {};
    }));
    return each_segment(o, [&](const segment& s, std::string_view) -> result<void> {
      const u64 end = s.file_offset + s.length < o.size ? s.file_offset + s.length : o.size.get();
      for (u64 at = s.file_offset; at < end;) {
        const auto data = sys::lseek(fd, static_cast<i64>(at), sys::abi::seek_data);
        if (!data.ok()) break;  // only a hole is left
        const auto hole = sys::lseek(fd, *data, sys::abi::seek_hole);
        const u64 stop = hole.ok() && static_cast<u64>(*hole) < end ? static_cast<u64>(*hole) : end;
        for (at = page_down(static_cast<u64>(*data)); at < stop; at += page_size) {
          if (holds(from, at)) continue;
          const u64 n = end - at < page_size ? end - at : page_size;
          const mutable_bytes page(buffer, n);
          const u64 got = CKPT_TRY(sys::pread_up_to(kernel, fd, page, at));
          bool zero = true;
          for (u64 i = 0; i < got; ++i) zero = zero && buffer[i] == std::byte{0};
          if (zero) continue;
          std::memset(buffer, 0, n);
          CKPT_TRY(visit(at, page));
        }
      }
      return {};
    });
  }

  /// The whole of the file as it is now, under another name and on the disk.
  result<void> keep_beside(const shared_object& o, std::string_view path) {
    const sys::unique_fd from(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, terminated(path),
                                                   sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::abi::stat now{};
    CKPT_TRY(sys::fstat(from.get(), now));
    const auto made = create_beside(path, now.st_mode, path_);
    if (!made.ok())
      return why_.explain(made.error(), "cannot keep ", quoted{path}, " as it is now as ",
                         quoted{path_.view()});
    const sys::unique_fd to(*made);
    const auto copied = [&]() -> result<void> {
      sys::linux_files kernel;
      std::byte buffer[16 * 1024];
      const u64 size = static_cast<u64>(now.st_size);
      for (u64 at = 0; at < size;) {
        const auto data = sys::lseek(from.get(), static_cast<i64>(at), sys::abi::seek_data);
        if (!data.ok()) break;
        at = static_cast<u64>(*data);
        const auto hole = sys::lseek(from.get(), *data, sys::abi::seek_hole);
        const u64 end = hole.ok() ? static_cast<u64>(*hole) : size;
        while (at < end) {
          const u64 n = end - at < sizeof buffer ? end - at : sizeof buffer;
          const u64 got =
              CKPT_TRY(sys::pread_up_to(kernel, from.get(), mutable_bytes(buffer, n), at));
          if (got == 0) break;
          CKPT_TRY(sys::pwrite_all(kernel, to.get(), bytes(buffer, got), at));
          at += got;
        }
        if (at < end) break;
      }
      CKPT_TRY(sys::ftruncate(to.get(), size));
      return sys::fsync(to.get());
    }();
    if (copied.ok()) return {};
    // Half a copy is none; the file itself is as it was.
    (void)sys::unlinkat(sys::abi::at_fdcwd, path_.c_str(), 0);
    return why_.explain(copied.error(), "cannot keep ", quoted{path}, " as it is now as ",
                        quoted{path_.view()}, " (", noun(o), " differs from the image)");
  }

  result<void> write_back(const shared_object& o, std::string_view path) {
    CKPT_TRY(keep_beside(o, path));
    const sys::unique_fd fd(
        CKPT_TRY(sys::openat(sys::abi::at_fdcwd, terminated(path),
                             sys::abi::o_rdwr | sys::abi::o_cloexec | sys::abi::o_noctty)));
    sys::abi::stat now{};
    CKPT_TRY(sys::fstat(fd.get(), now));
    const u64 size = static_cast<u64>(now.st_size);
    sys::linux_files kernel;
    CKPT_TRY(each_difference(o, fd.get(), [&](u64 offset, bytes right) {
      return sys::pwrite_all(kernel, fd.get(), right, offset);
    }));
    if (size < o.size || (policy_ == files_policy::rewind && size > o.size))
      CKPT_TRY(sys::ftruncate(fd.get(), o.size));
    return {};
  }

  result<void> create(const shared_object& o, std::string_view path) {
    const sys::unique_fd fd(
        CKPT_TRY(sys::openat(sys::abi::at_fdcwd, terminated(path),
                             sys::abi::o_rdwr | sys::abi::o_creat | sys::abi::o_excl |
                                 sys::abi::o_nofollow | sys::abi::o_cloexec,
                             0600)));
    auto outcome = fill(o, fd.get());
    if (outcome.ok()) outcome = sys::fchmod(fd.get(), o.mode & 07777u);
    if (!outcome.ok()) (void)sys::unlinkat(sys::abi::at_fdcwd, terminated(path), 0);
    return outcome;
  }

  // --- objects ------------------------------------------------------------------------------
  template <class Park>
  result<void> restore_object(const shared_object& o, std::string_view path, Park&& park) {
    if (o.kind == object_kind::anonymous || o.kind == object_kind::system_v)
      return restore_memory(o);
    if (o.kind == object_kind::named) {
      if (action_[o.number] == action::create) CKPT_TRY(create(o, path));
      if (action_[o.number] == action::write_back) CKPT_TRY(write_back(o, path));
      const sys::unique_fd fd(CKPT_TRY(open_named(o, path)));
      return map_file(o, fd.get());
    }
    const sys::unique_fd fd(
        CKPT_TRY(o.kind == object_kind::memfd ? make_memfd(o, path) : make_unnamed(path)));
    CKPT_TRY(fill(o, fd.get()));
    CKPT_TRY(map_file(o, fd.get()));
    bool wanted = false;
    format::for_each<open_file>(
        metadata_, [&](const open_file& f, bytes) { wanted = wanted || f.content == o.number; });
    if (!wanted) return finish_file(o, fd.get());
    made_[o.number] = CKPT_TRY(park(fd.get()));
    return {};
  }

  static result<int> make_memfd(const shared_object& o, std::string_view path) {
    constexpr u32 allow_sealing = 2, noexec_seal = 8, exec = 0x10;  // the last two since 6.3
    constexpr u32 seal_exec = 0x20;
    constexpr std::string_view before = "/memfd:";
    fixed_text<256> name;
    if (path.starts_with(before)) path.remove_prefix(before.size());
    if (path.ends_with(" (deleted)")) path.remove_suffix(std::string_view(" (deleted)").size());
    name.append(path);
    const u32 flags = sys::abi::mfd_cloexec | allow_sealing;
    const bool never = (o.seals & seal_exec) != 0 && (o.mode & 0111u) == 0;
    auto made = sys::memfd_create(name.c_str(), flags | (never ? noexec_seal : exec));
    // A system may forbid memory files that can be executed (vm.memfd_noexec).
    if (made.error() == errc::access && !never && (o.mode & 0111u) == 0)
      made = sys::memfd_create(name.c_str(), flags | noexec_seal);
    if (made.error() == errc::invalid) made = sys::memfd_create(name.c_str(), flags);
    return made;
  }

  /// A file without a name again: in the directory it had, or else in memory.
  result<int> make_unnamed(std::string_view path) {
    path_.clear();
    const auto slash = path.rfind('/');
    path_.append(slash == std::string_view::npos ? std::string_view(".")
                                                 : path.substr(0, slash + 1));
    auto made = sys::openat(sys::abi::at_fdcwd, path_.c_str(),
                            sys::abi::o_tmpfile | sys::abi::o_rdwr | sys::abi::o_cloexec, 0600);
    if (!made.ok()) made = sys::memfd_create("ckpt-deleted-file", sys::abi::mfd_cloexec);
    return made;
  }

  result<void> fill(const shared_object& o, int fd) {
    sys::linux_files kernel;
    CKPT_TRY(sys::ftruncate(fd, o.size));
    return each_piece(o, saved_of(o.number), [&](u64 offset, bytes piece) -> result<void> {
      CKPT_TRY(sys::pwrite_all(kernel, fd, piece, offset));
      give_back(piece);
      return {};
    });
  }

  static result<void> finish_file(const shared_object& o, int fd) {
    constexpr int add_seals = 1033, get_seals = 1034;
    if (o.mode != 0) (void)sys::fchmod(fd, o.mode & 07777u);
    if (o.kind != object_kind::memfd) return {};
    const u32 has = static_cast<u32>(sys::fcntl(fd, get_seals, 0).value_or(0));
    if ((o.seals & ~has) == 0) return {};
    const auto sealed = sys::fcntl(fd, add_seals, static_cast<long>(o.seals & ~has));
    if (!sealed.ok()) return sealed.error();
    return {};
  }

  /// Filled in one mapping of the whole; mremap(2) from no length makes further ones of it.
  result<void> restore_memory(const shared_object& o) {
    const bool system_v = o.kind == object_kind::system_v;
    const u64 length = page_up(o.size);
    const u64 base = CKPT_TRY(system_v ? attach(o) : map_anonymous(o, length));
    CKPT_TRY(each_piece(o, saved_of(o.number), [&](u64 offset, bytes piece) -> result<void> {
      (void)sys::madvise(base + offset, page_up(piece.size()), sys::abi::madv_populate_write);
      std::memcpy(reinterpret_cast<void*>(base + offset), piece.data(), piece.size());
      give_back(piece);
      return {};
    }));
    CKPT_TRY(each_segment(o, [&](const segment& s, std::string_view name) -> result<void> {
      constexpr int fixed = sys::abi::mremap_maymove | sys::abi::mremap_fixed;
      const bool beyond = s.file_offset >= length;  // what mremap(2) has let it grow to
      CKPT_TRY(
          sys::mremap(base + (beyond ? 0 : s.file_offset.get()), 0, s.length, fixed, s.address));
      constexpr int map_nonblock = 0x10000;  // no page is made
      if (beyond)
        CKPT_TRY(
            sys::checked<void>(sys::invoke(__NR_remap_file_pages, s.address.get(), s.length.get(),
                                           0, s.file_offset / page_size, map_nonblock)));
      CKPT_TRY(sys::mprotect(s.address, s.length, static_cast<int>(s.protection.bits())));
      return settle(s, name);
    }));
    return sys::munmap(base, length);
  }

  static result<u64> map_anonymous(const shared_object& o, u64 length) {
    const int reserve = o.flags.has(object_flag::no_reserve) ? sys::abi::map_noreserve : 0;
    return sys::mmap(0, length, sys::abi::prot_read | sys::abi::prot_write,
                     sys::abi::map_shared | sys::abi::map_anonymous | reserve, -1, 0);
  }

  /// Its id is removed at once, as it was: the segment lives as long as it is attached.
  static result<u64> attach(const shared_object& o) {
    constexpr int create = 01000, remove = 0;
    const int id = CKPT_TRY(sys::checked<int>(sys::invoke(
        __NR_shmget, 0, o.size.get(), create | static_cast<int>(o.mode & 0777u) | 0600)));
    const auto at = sys::checked<u64>(sys::invoke(__NR_shmat, id, 0, 0));
    (void)sys::invoke(__NR_shmctl, id, remove, 0);
    return at;
  }

  result<void> map_file(const shared_object& o, int fd) {
    sys::unique_fd read_only;
    return each_segment(o, [&](const segment& s, std::string_view name) -> result<void> {
      const auto flags = maps::vm_flags::from_bits(s.vm_flags);
      // What could never be written was mapped through a descriptor that could not.
      const bool writable = flags.has(maps::vm_flag::may_write);
      if (!writable && !read_only) {
        path_.clear();
        path_.append("/proc/self/fd/").append(fd);
        read_only = sys::unique_fd(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path_.c_str(),
                                                        sys::abi::o_rdonly | sys::abi::o_cloexec)));
      }
      const int reserve = flags.has(maps::vm_flag::no_reserve) ? sys::abi::map_noreserve : 0;
      CKPT_TRY(sys::mmap(s.address, s.length, static_cast<int>(s.protection.bits()),
                         sys::abi::map_shared | sys::abi::map_fixed | reserve,
                         writable ? fd : read_only.get(), s.file_offset));
      return settle(s, name);
    });
  }

  result<void> settle(const segment& s, std::string_view name) {
    const auto flags = maps::vm_flags::from_bits(s.vm_flags);
    if (flags.has(maps::vm_flag::huge_page))
      (void)sys::madvise(s.address, s.length, sys::abi::madv_hugepage);
    if (flags.has(maps::vm_flag::no_huge_page))
      (void)sys::madvise(s.address, s.length, sys::abi::madv_nohugepage);
    set_name(s, name);
    result<void> outcome;
    format::for_each<trap_range>(metadata_, [&](const trap_range& t, bytes) {
      if (outcome.ok() && t.kind == trap_kind::guard && t.address >= s.address &&
          t.address - s.address < s.length)
        outcome = install_guard(t, why_);
    });
    CKPT_TRY(outcome);
    could_not_lock_ = !advise(s) || could_not_lock_;
    return seal(s, why_);
  }

  // --- files that the program only reads ----------------------------------------------------
  /// It has a copy of what it saw. Where the file still has those bytes, the file takes the copy's
  /// place, so that what others write to it later is seen as before.
  result<void> mend_read_only() {
    format::for_each<segment>(metadata_, [&](const segment& s, bytes name) {
      if (s.kind == segment_kind::shared_file) mend(s, text_of_bytes(name));
    });
    return {};
  }
  void mend(const segment& s, std::string_view path) {
    const auto flags = maps::vm_flags::from_bits(s.vm_flags);
    if (!path.starts_with('/') || flags.has(maps::vm_flag::sealed) ||
        !s.protection.has(protection::read))
      return;
    const sys::unique_fd fd(sys::openat(sys::abi::at_fdcwd, terminated(path),
                                        sys::abi::o_rdonly | sys::abi::o_cloexec |
                                            sys::abi::o_noctty | sys::abi::o_nonblock)
                                .value_or(-1));
    sys::abi::stat now{};
    if (!fd || !sys::fstat(fd.get(), now).ok() ||
        (now.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg)
      return;
    u64 readable = s.length;  // up to the end of the file
    bool trapped = false;
    format::for_each<trap_range>(metadata_, [&](const trap_range& t, bytes) {
      if (t.address < s.address || t.address - s.address >= s.length) return;
      if (t.kind == trap_kind::guard) trapped = true;
      if (t.kind == trap_kind::beyond_end) readable = t.address - s.address;
    });
    if (trapped) return;
    const u64 size = static_cast<u64>(now.st_size);
    const u64 end = size > s.file_offset ? page_up(size - s.file_offset) : 0;
    if ((end < s.length ? end : s.length.get()) != readable || readable > largest_compared) return;
    std::byte buffer[16 * 1024];
    sys::linux_files kernel;
    for (u64 at = 0; at < readable; at += sizeof buffer) {
      const u64 n = readable - at < sizeof buffer ? readable - at : sizeof buffer;
      std::memset(buffer, 0, n);  // a last page is zero beyond the end of the file
      const auto got =
          sys::pread_up_to(kernel, fd.get(), mutable_bytes(buffer, n), s.file_offset + at);
      if (!got.ok() || std::memcmp(buffer, reinterpret_cast<const void*>(s.address + at), n) != 0)
        return;
    }
    if (!sys::mmap(s.address, s.length, static_cast<int>(s.protection.bits()),
                   sys::abi::map_shared | sys::abi::map_fixed, fd.get(), s.file_offset)
             .ok())
      return;
    (void)settle(s, {});
  }
  /// A mapping of more than that stays a copy.
  static constexpr u64 largest_compared = u64{4} << 30;

  files_policy policy_;
  bytes metadata_;
  bytes contents_;
  report& why_;
  bool could_not_lock_ = false;
  int made_[max_objects + 1];
  action action_[max_objects + 1] = {};
  bool mends_some_ = false;
  fixed_text<4300> path_;
};

}  // namespace ckpt::state
