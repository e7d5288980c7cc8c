// SPDX-License-Identifier: MIT
//
// ckpt_fds: the table of descriptors that functions of the program see and change at a checkpoint and
// at a restart, and what has become of it when they have returned: wishes, which the capture takes
// and the image keeps, or which change the records that a restart goes by.
#pragma once

#include "c_api.hpp"
#include "ckpt/format/checksum.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/format/walk.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/files/wishes.hpp"
#include "ckpt/sys/file.hpp"
#include "path_pool.hpp"

namespace ckpt::agent {

class descriptor_table {
 public:
  /// Those of the program itself. Null when there is no memory for it.
  // Context: triggering thread, all signals blocked
  ckptfdtbl* open_program(const options::ignored_descriptors& ignored) {
    if (!table_.empty()) return shown();
    u32 count = 0;
    const auto counted = each_number([&](i32) { ++count; });
    if (!counted.ok() || !reserve(count)) return nullptr;
    const auto listed = each_number([&](i32 fd) {
      if (shown()->nfd < count) add_program(fd, ignored.has(fd));
    });
    if (listed.ok()) return shown();
    close_table();
    return nullptr;
  }
  /// Those that the image has.
  // Context: agent, in restored memory, all other threads held
  ckptfdtbl* open_image() {
    if (!table_.empty()) return shown();
    u32 count = 0;
    format::for_each<state::descriptor>(metadata_, [&](const state::descriptor&, bytes) { ++count; });
    if (!reserve(count)) return nullptr;
    format::for_each<state::descriptor>(metadata_, [&](const state::descriptor& d, bytes) {
      auto& c = add(d.number, false);
      c.type = CKPT_FD_UNKNOWN;
      rows_[&c - shown()->fds].file = d.open_file;
    });
    if (show_image()) return shown();
    close_table();
    return nullptr;
  }

  /// The functions have returned: what they have changed becomes wishes, the rest is given back.
  // Context: triggering thread, all signals blocked
  void close() {
    if (table_.empty()) return;
    u32 changed = 0;
    u64 text = 0;
    for (u32 i = 0; i < shown()->nfd; ++i) {
      if (!has_changed(i)) continue;
      ++changed;
      if (has_new_path(i)) text += length_of(path(i)) + 1;
    }
    const u64 size = page_up(changed * sizeof(state::descriptor_wish) + text);
    if (changed > 0) {
      const auto at = map(size);
      lost_wishes_ = !at.ok();
      if (at.ok()) wishes_ = {*at, *at + size};
    }
    auto* wish = reinterpret_cast<state::descriptor_wish*>(wishes_.begin);
    char* to = reinterpret_cast<char*>(wish + changed);
    for (u32 i = 0; i < shown()->nfd; ++i) {
      const ckptfd& c = shown()->fds[i];
      if (has_changed(i) && !wishes_.empty()) {
        *wish = {c.fd, treatment(i) != rows_[i].treatment, treatment(i) == CKPT_FD_IGNORE, {}, {}};
        if (has_new_path(i)) {
          const u64 length = length_of(path(i));
          std::memcpy(to, path(i), length + 1);
          wish->path = {to, length};
          to += length + 1;
        }
        ++wish;
      }
      // Whatever is there is malloc's, the program's or ours; more than its text may be no more.
      if (path(i) != nullptr) paths_.give(path(i), length_of(path(i)) + 1);
    }
    if (!wishes_.empty()) wish_count_ = changed;
    close_table();
  }

  [[nodiscard]] std::span<const state::descriptor_wish> wishes() const {
    return {reinterpret_cast<const state::descriptor_wish*>(wishes_.begin), wish_count_};
  }
  /// There was no memory for what the program has said.
  [[nodiscard]] bool lost_wishes() const { return lost_wishes_; }
  /// Of ours, in the program's map.
  [[nodiscard]] range memory() const { return wishes_; }

  /// The checkpoint or the restart is over.
  // Context: triggering thread, all signals blocked
  void release() {
    if (!wishes_.empty()) (void)sys::munmap(wishes_.begin, wishes_.length());
    forget();
  }
  /// The memory of it is in no image.
  // Context: agent, in restored memory
  void forget() {
    wishes_ = {};
    wish_count_ = 0;
    lost_wishes_ = false;
    table_ = {};
  }

  // Context: agent, in restored memory
  void begin_restart(bytes metadata) { metadata_ = metadata; }

  /// The metadata with all wishes in it, in memory of its own.
  // Context: agent, in restored memory
  result<bytes> changed_metadata() {
    if (lost_wishes_) return errc::no_memory;
    if (wish_count_ == 0) return metadata_;
    u64 size = metadata_.size() + page_size;
    for (const auto& w : wishes()) size += w.path.size() + 2 * format::record_alignment;
    edited_ = page_up(size);
    const u64 at = CKPT_TRY(map(edited_));
    struct memory {
      mutable_bytes all;
    } room{{reinterpret_cast<std::byte*>(at), edited_}};
    format::metadata_builder out({[](void* self, u64 n) -> result<mutable_bytes> {
                                    const auto all = static_cast<memory*>(self)->all;
                                    if (n > all.size()) return errc::no_memory;
                                    return all;
                                  },
                                  &room});
    give_files();
    format::record_cursor cursor(metadata_);
    for (bytes rest = metadata_; !cursor.done(); rest = metadata_.last(cursor.left())) {
      const auto view = CKPT_TRY(cursor.next());
      const bytes whole = rest.first(rest.size() - cursor.left());
      if (view.type == format::record_type::descriptor) {
        const auto* w = find(wire::decode<state::descriptor>(view.fixed)->number);
        if (w != nullptr && w->says_treatment && w->ignore) continue;
      } else if (view.type == format::record_type::open_file) {
        auto f = *wire::decode<state::open_file>(view.fixed);
        if (const auto path = path_for(f.id); !path.empty()) {
          f.kind = state::file_kind::regular;
          f.marks.set(state::file_mark::as_given);
          f.content = 0;
          f.device = f.inode = f.size = 0;
          CKPT_TRY(out.add(f, bytes_of_text(path)));
          continue;
        }
      }
      CKPT_TRY(out.append(whole));
    }
    changed_ = out.view();
    return changed_;
  }
  // Context: agent, in restored memory
  void end_restart() {
    if (!changed_.empty()) (void)sys::munmap(reinterpret_cast<u64>(changed_.data()), edited_);
    changed_ = {};
    metadata_ = {};
    release();
  }

  /// Memory for the paths of all that is open now, and of as much again.
  // Context: program, ordinary
  void fill_paths() {
    u32 count = 0;
    (void)each_number([&](i32) { ++count; });
    paths_.fill(count < 32 ? 64 : 2 * count);
  }
  /// How many paths there was no memory for, once.
  u32 take_without_path() { return std::exchange(without_path_, 0); }

 private:
  struct row {
    i32 treatment;
    u32 file;
    bool has_path;
    u64 length, hash;  // of the path as it was
  };

  static result<u64> map(u64 size) {
    return sys::mmap(0, size, sys::abi::prot_read | sys::abi::prot_write,
                     sys::abi::map_private | sys::abi::map_anonymous, -1, 0);
  }
  bool reserve(u32 count) {
    without_path_ = 0;
    const u64 size =
        page_up(sizeof(ckptfdtbl) + count * (sizeof(ckptfd) + sizeof(regular) + sizeof(row)));
    const auto at = map(size);
    if (!at.ok()) return false;
    table_ = {*at, *at + size};
    shown()->fds = reinterpret_cast<ckptfd*>(shown() + 1);
    files_ = reinterpret_cast<regular*>(shown()->fds + count);
    rows_ = reinterpret_cast<row*>(files_ + count);
    return true;
  }
  void close_table() {
    (void)sys::munmap(table_.begin, table_.length());
    table_ = {};
  }
  [[nodiscard]] ckptfdtbl* shown() const { return reinterpret_cast<ckptfdtbl*>(table_.begin); }

  template <class Visitor>
  static result<void> each_number(Visitor&& visit) {
    const sys::unique_fd list(CKPT_TRY(sys::openat(
        sys::abi::at_fdcwd, "/proc/thread-self/fd",
        sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec)));
    alignas(8) std::byte names[2048];
    for (;;) {
      const u64 got = CKPT_TRY(sys::getdents64(list.get(), names, sizeof names));
      if (got == 0) return {};
      for (u64 at = 0; at < got;) {
        sys::abi::dirent64 d{};
        std::memcpy(&d, names + at, sys::abi::dirent64_name_offset);
        const auto number = parse_number(
            reinterpret_cast<const char*>(names + at + sys::abi::dirent64_name_offset));
        at += d.d_reclen;
        if (number.ok() && static_cast<i32>(*number) != list.get()) visit(static_cast<i32>(*number));
      }
    }
  }

  ckptfd& add(i32 fd, bool ignored) {
    const u32 i = shown()->nfd++;
    ckptfd& c = shown()->fds[i];
    c.fd = fd;
    c.treatment = rows_[i].treatment = ignored ? CKPT_FD_IGNORE : CKPT_FD_RESTORE;
    return c;
  }

  /// What a function may change the path of.
  void show_file(ckptfd& c, u32 flags, i64 offset, std::string_view path) {
    const u64 i = static_cast<u64>(&c - shown()->fds);
    constexpr u32 shown_flags = u32{sys::abi::o_accmode} | sys::abi::o_append | sys::abi::o_nonblock;
    files_[i].mode = static_cast<int>(flags & shown_flags);
    files_[i].offset = offset;
    files_[i].path = path.empty() ? nullptr : paths_.take(path);
    if (!path.empty() && files_[i].path == nullptr) ++without_path_;
    rows_[i].has_path = true;
    rows_[i].length = path.size();
    rows_[i].hash = format::checksum(bytes_of_text(path));
    c.u.reg = &files_[i];
  }

  void add_program(i32 fd, bool ignored) {
    sys::abi::stat st{};
    if (!sys::fstat(fd, st).ok()) return;  // another thread has closed it
    ckptfd& c = add(fd, ignored);
    c.type = type_of(st.st_mode);
    if (c.type == CKPT_FD_UNIXSOCK) c.type = type_of_socket(fd);
    if (c.type != CKPT_FD_REGULAR && c.type != CKPT_FD_DEV) return;
    fixed_text<48> link;
    link.append("/proc/thread-self/fd/").append(fd);
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, link.c_str(), text_, sizeof text_ - 1);
    std::string_view path(text_, size.value_or(0));
    if (st.st_nlink == 0 && !path.starts_with("/memfd:")) path = maps::without_deleted(path);
    show_file(c, static_cast<u32>(sys::fcntl(fd, sys::abi::f_getfl, 0).value_or(0)),
              sys::lseek(fd, 0, sys::abi::seek_cur).value_or(0), path);
  }
  /// Where each file's record is, and then descriptor by descriptor.
  bool show_image() {
    u64 count = 0;
    format::for_each<state::open_file>(metadata_, [&](const state::open_file&, bytes) { ++count; });
    const u64 size = page_up(count * sizeof(u64) + 1);
    const auto at = map(size);
    if (!at.ok()) return false;
    auto* offsets = reinterpret_cast<u64*>(*at);
    format::record_cursor cursor(metadata_);
    for (u64 offset = 0, i = 0; !cursor.done(); offset = metadata_.size() - cursor.left()) {
      const auto view = cursor.next();
      if (!view.ok()) break;
      if (view->type == format::record_type::open_file) offsets[i++] = offset;
    }
    for (u32 i = 0; i < shown()->nfd; ++i) {
      format::record_cursor here(metadata_.subspan(offsets[rows_[i].file]));
      const auto view = here.next();
      show_image_file(shown()->fds[i], *wire::decode<state::open_file>(view->fixed),
                      text_of_bytes(view->tail));
    }
    (void)sys::munmap(*at, size);
    return true;
  }
  void show_image_file(ckptfd& c, const state::open_file& f, std::string_view path) {
    c.type = type_of(f.mode);
    if (f.kind == state::file_kind::outside && c.type == CKPT_FD_UNIXSOCK) c.type = CKPT_FD_UNKNOWN;
    if (c.type == CKPT_FD_REGULAR || c.type == CKPT_FD_DEV) show_file(c, f.flags, f.offset, path);
  }

  static int type_of(u32 mode) {
    switch (mode & sys::abi::s_ifmt) {
      case sys::abi::s_ifreg: return CKPT_FD_REGULAR;
      case sys::abi::s_ifchr:
      case sys::abi::s_ifblk: return CKPT_FD_DEV;
      case sys::abi::s_ififo: return CKPT_FD_PIPE;
      case sys::abi::s_ifsock: return CKPT_FD_UNIXSOCK;
      default: return CKPT_FD_UNKNOWN;
    }
  }
  static int type_of_socket(i32 fd) {
    constexpr i32 af_inet = 2, af_inet6 = 10, ipproto_tcp = 6, ipproto_udp = 17;
    i32 family = -1, protocol = -1;
    (void)sys::getsockopt(fd, sys::abi::so_domain, family);
    (void)sys::getsockopt(fd, sys::abi::so_protocol, protocol);
    if (family == sys::abi::af_unix) return CKPT_FD_UNIXSOCK;
    if (family != af_inet && family != af_inet6) return CKPT_FD_UNKNOWN;
    return protocol == ipproto_tcp   ? CKPT_FD_TCPSOCK
           : protocol == ipproto_udp ? CKPT_FD_UDPSOCK
                                     : CKPT_FD_UNKNOWN;
  }

  [[nodiscard]] char* path(u32 i) const {
    // Whatever a function has put into the union, the structure is ours.
    return rows_[i].has_path ? files_[i].path : nullptr;
  }
  [[nodiscard]] int treatment(u32 i) const {
    return shown()->fds[i].treatment == CKPT_FD_RESTORE ? CKPT_FD_RESTORE : CKPT_FD_IGNORE;
  }
  static u64 length_of(const char* text) {
    u64 n = 0;
    while (text[n] != '\0') ++n;
    return n;
  }
  [[nodiscard]] bool has_new_path(u32 i) const {
    const char* now = path(i);
    if (now == nullptr || *now == '\0') return false;
    const u64 length = length_of(now);
    return length != rows_[i].length ||
           format::checksum(bytes_of_text({now, length})) != rows_[i].hash;
  }
  [[nodiscard]] bool has_changed(u32 i) const {
    return treatment(i) != rows_[i].treatment || has_new_path(i);
  }

  [[nodiscard]] const state::descriptor_wish* find(i32 fd) const {
    return state::descriptor_wishes{wishes(), {}}.find(fd);
  }
  /// A path is the open file's: the lowest descriptor that was given one speaks for all.
  void give_files() {
    auto* const all = reinterpret_cast<state::descriptor_wish*>(wishes_.begin);
    u32 i = 0;
    format::for_each<state::descriptor>(metadata_, [&](const state::descriptor& d, bytes) {
      while (i < wish_count_ && all[i].fd < d.number) ++i;
      if (i < wish_count_ && all[i].fd == d.number) all[i].file = d.open_file;
    });
  }
  [[nodiscard]] std::string_view path_for(u32 file) const {
    for (const auto& w : wishes())
      if (w.file == file && !w.path.empty() && !w.ignore) return w.path;
    return {};
  }

  range table_;
  regular* files_ = nullptr;
  row* rows_ = nullptr;
  range wishes_;
  u32 wish_count_ = 0;
  u32 without_path_ = 0;
  bool lost_wishes_ = false;
  bytes metadata_;
  bytes changed_;
  u64 edited_ = 0;
  path_pool paths_;
  char text_[4200] = {};
};

inline constinit descriptor_table descriptors_of_agent{};

}  // namespace ckpt::agent
