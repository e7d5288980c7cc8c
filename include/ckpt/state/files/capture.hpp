// SPDX-License-Identifier: MIT
//
// Finds every descriptor of the frozen program and describes it, or names the first that cannot
// come back. Everything is seen through /proc/PID/fd and fdinfo, so nothing of the program's own
// table is touched: opening and closing a file in that table would drop its POSIX locks.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/format/checksum.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

/// A file without a name whose contents go into the image.
struct unnamed_content {
  i32 descriptor;  // one that refers to it
  sys::abi::stat st;
};

/// What a descriptor says about a file that is mapped as well.
struct open_elsewhere {
  i32 descriptor = -1;
  bool writable = false;
};

class files_capture {
 public:
  static constexpr u32 max_unnamed = 64;

  /// `proc` is "/proc/PID" of the program; `pid` its number for kcmp(2). `scratch` holds the names
  /// and tables of the walk, at least 64 KiB.
  files_capture(std::string_view proc, int pid, mutable_bytes scratch)
      : proc_(proc), pid_(pid), scratch_(scratch) {}

  // Context: helper, all threads frozen
  result<void> capture(format::metadata_builder& out, report& why) {
    CKPT_TRY(list(why));
    for (u32 i = 0; i < count_; ++i) CKPT_TRY(look_at(entries_[i], why));
    CKPT_TRY(find_groups(why));
    for (u32 i = 0; i < count_; ++i)
      if (entries_[i].first == i) CKPT_TRY(describe_file(entries_[i], out, why));
    for (u32 i = 0; i < count_; ++i) {
      descriptor d{};
      d.number = entries_[i].fd;
      d.open_file = entries_[entries_[i].first].id;
      d.flags = (entries_[i].info.flags & sys::abi::o_cloexec) != 0 ? 1u : 0u;
      CKPT_TRY(out.add(d));
    }
    for (u32 i = 0; i < count_; ++i)
      if (entries_[i].first == i) CKPT_TRY(describe_locks(entries_[i], out, why));
    return {};
  }

  [[nodiscard]] std::span<const unnamed_content> unnamed() const { return {unnamed_, unnamed_count_}; }

  /// The descriptors of a file, one that may write before all others.
  [[nodiscard]] open_elsewhere look_for(u64 device, u64 inode) const {
    open_elsewhere found;
    for (u32 i = 0; i < count_ && !found.writable; ++i) {
      const entry& e = entries_[i];
      if (e.st.st_dev != device || e.st.st_ino != inode) continue;
      found.descriptor = e.fd;
      found.writable = (e.info.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly};
    }
    return found;
  }

  /// The path that a descriptor shows, until the next question.
  // Context: helper, all threads frozen
  result<std::string_view> shown_path(i32 fd) { return link_of(fd); }

  /// Opens the file behind a descriptor of the program for reading.
  // Context: helper, all threads frozen
  result<int> reopen(i32 fd) {
    return sys::openat(sys::abi::at_fdcwd, path_of("/fd/", fd),
                       sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock |
                           sys::abi::o_noctty);
  }

 private:
  struct entry {
    i32 fd;
    u32 first;  // index of the lowest descriptor with the same open file
    u32 id;
    u32 stdio;
    proc::fdinfo info;
    sys::abi::stat st;
    file_kind kind;
  };

  const char* path_of(std::string_view directory, i64 number = -1) {
    path_.clear();
    path_.append(proc_).append(directory);
    if (number >= 0) path_.append(number);
    return path_.c_str();
  }

  result<void> list(report& why) {
    const auto opened = sys::openat(sys::abi::at_fdcwd, path_of("/fd"),
                                    sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec);
    if (!opened.ok()) return why.explain(opened.error(), "cannot list ", path_.view());
    const sys::unique_fd dir(*opened);
    constexpr u64 list_size = 8192;
    entries_ = reinterpret_cast<entry*>(scratch_.data() + list_size);
    capacity_ = static_cast<u32>((scratch_.size() - list_size) / sizeof(entry));
    for (;;) {
      const u64 got = CKPT_TRY(sys::getdents64(dir.get(), scratch_.data(), list_size));
      if (got == 0) break;
      for (u64 at = 0; at < got;) {
        sys::abi::dirent64 d{};
        std::memcpy(&d, scratch_.data() + at, sys::abi::dirent64_name_offset);
        const char* name =
            reinterpret_cast<const char*>(scratch_.data() + at + sys::abi::dirent64_name_offset);
        at += d.d_reclen;
        const auto number = parse_number(name);
        if (!number.ok()) continue;
        if (count_ == capacity_) return why.refuse("more than ", capacity_, " descriptors are open");
        entry& e = entries_[count_++];
        e = {};
        e.fd = static_cast<i32>(*number);
      }
    }
    // The kernel lists them in order; the format wants it so.
    for (u32 i = 1; i < count_; ++i)
      for (u32 k = i; k > 0 && entries_[k].fd < entries_[k - 1].fd; --k)
        std::swap(entries_[k], entries_[k - 1]);
    return {};
  }

  /// The text of fdinfo, in text_.
  result<std::string_view> read_info(i32 fd) {
    const sys::unique_fd info(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path_of("/fdinfo/", fd),
                                                   sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::linux_files kernel;
    const u64 size = CKPT_TRY(
        sys::read_up_to(kernel, info.get(), std::as_writable_bytes(std::span(text_))));
    return std::string_view(text_, size);
  }

  result<std::string_view> link_of(i32 fd) {
    const u64 size = CKPT_TRY(sys::readlinkat(sys::abi::at_fdcwd, path_of("/fd/", fd), link_,
                                              sizeof link_ - 1));
    link_[size] = '\0';
    return std::string_view(link_, size);
  }

  errc refuse(const entry& e, report& why, std::string_view what, std::string_view cure) {
    const auto link = link_of(e.fd);
    return why.refuse("descriptor ", e.fd, " is ", what, " (",
                      quoted{link.ok() ? *link : std::string_view("?")}, "); ", cure);
  }

  result<void> look_at(entry& e, report& why) {
    const auto text = read_info(e.fd);
    if (!text.ok()) return why.explain(text.error(), "cannot look at descriptor ", e.fd);
    const auto info = proc::parse_fdinfo(*text);
    if (!info.ok()) return why.explain(info.error(), "cannot read fdinfo of descriptor ", e.fd);
    e.info = *info;
    if (auto r = sys::newfstatat(sys::abi::at_fdcwd, path_of("/fd/", e.fd), e.st, 0); !r.ok())
      return why.explain(r.error(), "cannot look at descriptor ", e.fd);
    return {};
  }

  static bool same_file(const entry& a, const entry& b) {
    return a.st.st_dev == b.st.st_dev && a.st.st_ino == b.st.st_ino;
  }

  /// dup'ed descriptors share one open file; only kcmp(2) can tell.
  result<void> find_groups(report& why) {
    for (u32 i = 0; i < count_; ++i) {
      entries_[i].first = i;
      for (u32 k = 0; k < i; ++k) {
        if (entries_[k].first != k || !same_file(entries_[i], entries_[k])) continue;
        const auto order = sys::kcmp(pid_, pid_, sys::abi::kcmp_file,
                                     static_cast<u64>(entries_[i].fd),
                                     static_cast<u64>(entries_[k].fd));
        if (!order.ok())
          return why.explain(order.error(), "cannot compare descriptors ", entries_[k].fd, " and ",
                             entries_[i].fd, " (kcmp(2) is not permitted or not in this kernel)");
        if (*order == 0) {
          entries_[i].first = k;
          break;
        }
      }
    }
    return {};
  }

  [[nodiscard]] static bool is_stdio(const entry& e) { return e.fd <= 2; }

  /// A terminal, pipe or socket whose other end is not ours: one of 0–2, or the same file again.
  bool from_outside(entry& e) {
    for (u32 i = 0; i < count_; ++i) {
      const entry& other = entries_[i];
      if (!is_stdio(other) || !same_file(e, other)) continue;
      if ((other.info.flags & 3u) != (e.info.flags & 3u)) continue;
      e.stdio = static_cast<u32>(other.fd);
      return true;
    }
    return false;
  }
  /// Both ends of a pipe in one process: it carries bytes that nobody outside can bring back.
  bool is_internal_pipe(const entry& e) const {
    for (u32 i = 0; i < count_; ++i)
      if (same_file(entries_[i], e) && (entries_[i].info.flags & 3u) != (e.info.flags & 3u))
        return true;
    return false;
  }

  static bool is_memory_device(u64 device) {
    return device == maps::device_number(1, 3) || device == maps::device_number(1, 5) ||
           device == maps::device_number(1, 7) || device == maps::device_number(1, 8) ||
           device == maps::device_number(1, 9) || device == maps::device_number(5, 0);
  }
  /// Asked of the helper's own copy of the descriptor: the path of a terminal may be closed to this
  /// user, after su for instance.
  static bool is_terminal(const entry& e) {
    sys::abi::stat own{};
    u8 termios[64];
    constexpr unsigned long tcgets = 0x5401;
    return sys::fstat(e.fd, own).ok() && own.st_dev == e.st.st_dev && own.st_ino == e.st.st_ino &&
           sys::ioctl(e.fd, tcgets, &termios[0]).ok();
  }

  /// A queue of mq_open looks like a file; its name has no directory that could be seen.
  static bool is_message_queue(const entry& e) {
    constexpr i64 mqueue_magic = 0x19800202;
    return sys::fstatfs_type(e.fd).value_or(0) == mqueue_magic;
  }

  static bool is_huge(const entry& e) {
    constexpr i64 hugetlbfs_magic = 0x958458f6;
    return sys::fstatfs_type(e.fd).value_or(0) == hugetlbfs_magic;
  }

  result<void> classify(entry& e, std::string_view link, report& why) {
    using namespace sys::abi;
    constexpr std::string_view close_it =
        "close it before the checkpoint, or wait until the program has";
    if ((e.info.flags & u32{o_async}) != 0)
      return refuse(e, why, "set to send signals (O_ASYNC)", close_it);
    switch (e.st.st_mode & s_ifmt) {
      case s_ifreg:
        if (link.starts_with("/memfd:") && e.st.st_nlink == 0 && is_huge(e))
          return refuse(e, why, "a memory file made of hugetlb pages", close_it);
        if (link.starts_with("/secretmem")) return refuse(e, why, "secret memory", close_it);
        if (is_message_queue(e)) return refuse(e, why, "a message queue (mq_open)", close_it);
        // A namespace (net:[4026531840]) looks like a file and has no path.
        if (!link.starts_with('/')) return refuse(e, why, "a kernel object", close_it);
        if (link.starts_with("/proc/") || link.starts_with("/sys/"))
          e.kind = file_kind::kernel_file;
        else if (e.st.st_nlink == 0)
          e.kind = file_kind::deleted;
        else
          e.kind = file_kind::regular;
        return {};
      case s_ifdir:
        if (e.st.st_nlink == 0) return refuse(e, why, "a deleted directory", close_it);
        e.kind = link.starts_with("/proc/") || link.starts_with("/sys/") ? file_kind::kernel_file
                                                                         : file_kind::directory;
        return {};
      case s_ifchr:
        if (is_memory_device(e.st.st_rdev)) {
          e.kind = file_kind::device;
          return {};
        }
        if (!is_terminal(e)) return refuse(e, why, "a device", close_it);
        e.kind = file_kind::outside;
        if (!from_outside(e) && !any_stdio_terminal(e))
          return refuse(e, why, "a terminal that is not its standard input or output", close_it);
        return {};
      case s_ififo:
        e.kind = link.starts_with("pipe:") && is_internal_pipe(e) ? file_kind::pipe
                                                                   : file_kind::outside;
        if (e.kind == file_kind::pipe && (e.info.flags & u32{sys::abi::o_direct}) != 0)
          return refuse(e, why, "a pipe in packet mode (O_DIRECT)", close_it);
        if (e.kind == file_kind::pipe) return {};
        if (!link.starts_with("pipe:") || !from_outside(e))
          return refuse(e, why, "a pipe", close_it);
        return {};
      case s_ifsock:
        e.kind = file_kind::outside;
        if (!from_outside(e)) return refuse(e, why, "a socket", close_it);
        return {};
      default:
        return refuse(e, why, "of a kind that cannot be saved", close_it);
    }
  }

  /// A terminal that 0, 1 or 2 has with another access mode.
  bool any_stdio_terminal(entry& e) {
    for (u32 i = 0; i < count_; ++i)
      if (is_stdio(entries_[i]) && same_file(entries_[i], e)) {
        e.stdio = static_cast<u32>(entries_[i].fd);
        return true;
      }
    return false;
  }

  result<void> describe_file(entry& e, format::metadata_builder& out, report& why) {
    const auto link = link_of(e.fd);
    if (!link.ok()) return why.explain(link.error(), "cannot read the path of descriptor ", e.fd);
    CKPT_TRY(classify(e, *link, why));
    e.id = next_id_++;
    open_file f{};
    f.id = e.id;
    f.kind = e.kind;
    f.flags = e.info.flags & ~u32{sys::abi::o_cloexec};
    // How an unnamed file was made, not what it is.
    constexpr u32 made_unnamed = u32{sys::abi::o_tmpfile} & ~u32{sys::abi::o_directory};
    if ((f.flags & made_unnamed) != 0) f.flags = f.flags & ~u32{sys::abi::o_tmpfile};
    f.mode = e.st.st_mode;
    f.offset = e.info.position;
    f.size = static_cast<u64>(e.st.st_size);
    f.modified_ns = static_cast<i64>(e.st.st_mtime_sec * 1'000'000'000 + e.st.st_mtime_nsec);
    f.device = e.st.st_dev;
    f.inode = e.st.st_ino;
    f.stdio = e.stdio;
    std::string_view path = *link;
    if (e.kind == file_kind::regular) {
      sys::abi::stat named{};
      const auto found = sys::newfstatat(sys::abi::at_fdcwd, link_, named, 0);
      constexpr auto no_directory = static_cast<errc>(20);  // ENOTDIR
      if (!found.ok() && found.error() != errc::no_entry && found.error() != errc::access &&
          found.error() != no_directory)
        return why.explain(found.error(), "cannot look at the file of descriptor ", e.fd);
      if (!found.ok() || named.st_ino != e.st.st_ino || named.st_dev != e.st.st_dev) {
        // It still has a name, but not this one: unlinked beside a hard link, hidden by a mount,
        // below a directory closed to this user. A copy is as good for who only reads.
        if ((e.info.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly})
          return refuse(e, why, "a file open for writing that its path no longer leads to",
                        "what it writes after a restart would be lost; make the path lead to it");
        f.kind = file_kind::deleted;
        e.kind = file_kind::deleted;
      } else {
        fingerprint(e, f);
      }
    }
    if (e.kind == file_kind::deleted) {
      if (!path.starts_with("/memfd:")) path = maps::without_deleted(path);
      CKPT_TRY(take_content(e, f, why));
    }
    if (e.kind == file_kind::kernel_file) path = as_self(path);
    CKPT_TRY(out.add(f, bytes_of_text(path)));
    if (e.kind == file_kind::pipe && is_first_end(e)) return save_pipe(e, out, why);
    return {};
  }

  bool is_first_end(const entry& e) const {
    for (u32 i = 0; i < count_; ++i)
      if (same_file(entries_[i], e)) return &entries_[i] == &e;
    return true;
  }

  /// tee(2) copies what a pipe holds and leaves it there.
  result<void> save_pipe(const entry& e, format::metadata_builder& out, report& why) {
    const auto cannot = [&](errc error) {
      return why.explain(error, "cannot copy what the pipe on descriptor ", e.fd, " holds");
    };
    constexpr int f_setpipe_sz = 1031, f_getpipe_sz = 1032;
    const auto source = reopen(e.fd);  // a new reader, whichever end this is
    if (!source.ok()) return cannot(source.error());
    const sys::unique_fd from(*source);
    pipe_content p{};
    p.inode = e.st.st_ino;
    p.capacity = static_cast<u64>(sys::fcntl(from.get(), f_getpipe_sz, 0).value_or(65536));
    CKPT_TRY(out.begin(p));
    int ends[2] = {-1, -1};
    if (auto r = sys::pipe2(ends, sys::abi::o_cloexec | sys::abi::o_nonblock); !r.ok())
      return cannot(r.error());
    const sys::unique_fd copy(ends[0]);
    const sys::unique_fd into(ends[1]);
    (void)sys::fcntl(into.get(), f_setpipe_sz, static_cast<long>(p.capacity.get()));
    // A copy that is shorter than the pipe's content is no copy.
    constexpr unsigned long fionread = 0x541b;
    i32 held = 0;
    if (auto r = sys::ioctl(from.get(), fionread, &held); !r.ok()) return cannot(r.error());
    const auto teed = sys::checked<u64>(
        sys::invoke(__NR_tee, from.get(), into.get(), p.capacity.get(), 2 /* SPLICE_F_NONBLOCK */));
    if (held > 0 && !teed.ok()) return cannot(teed.error());
    if (teed.value_or(0) != static_cast<u64>(held))
      return why.refuse("the pipe on descriptor ", e.fd, " holds ", held, " bytes, of which only ",
                        teed.value_or(0), " can be copied (a limit on pipes, pipe-user-pages-soft?)");
    std::byte buffer[4096];
    for (u64 left = teed.value_or(0); left > 0;) {
      const auto got = sys::read(copy.get(), buffer, sizeof buffer);
      if (!got.ok() || *got == 0) return cannot(got.ok() ? errc::io : got.error());
      CKPT_TRY(out.append(bytes(buffer, *got)));
      left -= *got;
    }
    return out.end();
  }

  /// Two descriptors may have opened the same unnamed file: then they share its contents too.
  result<void> take_content(const entry& e, open_file& f, report& why) {
    if (const sys::unique_fd readable(reopen(e.fd).value_or(-1)); !readable)
      return refuse(e, why, "a deleted file that cannot be read", "give it a name or close it");
    for (u32 i = 0; i < unnamed_count_; ++i)
      if (unnamed_[i].st.st_dev == e.st.st_dev && unnamed_[i].st.st_ino == e.st.st_ino) {
        f.content = u64{i} + 1;
        return {};
      }
    if (unnamed_count_ == max_unnamed)
      return why.refuse("more than ", max_unnamed, " deleted and memory files are open");
    unnamed_[unnamed_count_++] = {e.fd, e.st};
    f.content = u64{unnamed_count_};
    return {};
  }

  /// /proc/1234/… of the program itself is whatever process it is after a restart, and
  /// /proc/1234/task/1234/… its thread.
  std::string_view as_self(std::string_view path) {
    const auto below = [](std::string_view whole, std::string_view part) {
      return whole.starts_with(part) && (whole.size() == part.size() || whole[part.size()] == '/');
    };
    if (!below(path, proc_)) return path;
    path.remove_prefix(proc_.size());
    fixed_text<32> task;
    task.append("/task/").append(pid_);
    const bool of_thread = below(path, task.view());
    if (of_thread) path.remove_prefix(task.view().size());
    self_path_.clear();
    self_path_.append(of_thread ? "/proc/thread-self" : "/proc/self").append(path);
    return self_path_.view();
  }

  void fingerprint(const entry& e, open_file& f) {
    const sys::unique_fd fd(reopen(e.fd).value_or(-1));
    if (!fd) return;
    sys::linux_files kernel;
    std::byte buffer[fingerprint_bytes];
    const u64 n = f.size < sizeof buffer ? f.size.get() : sizeof buffer;
    const mutable_bytes part(buffer, n);
    if (sys::pread_up_to(kernel, fd.get(), part, 0).value_or(0) == n)
      f.head_checksum = format::checksum(part);
    if (sys::pread_up_to(kernel, fd.get(), part, f.size - n).value_or(0) == n)
      f.tail_checksum = format::checksum(part);
  }

  result<void> describe_locks(const entry& e, format::metadata_builder& out, report& why) {
    const auto text = read_info(e.fd);
    if (!text.ok()) return why.explain(text.error(), "cannot look at descriptor ", e.fd);
    const bool first_of_file = [&] {
      for (u32 i = 0; i < count_; ++i)
        if (same_file(entries_[i], e)) return &entries_[i] == &e;
      return true;
    }();
    const auto outcome = proc::for_each_lock(*text, [&](const proc::file_lock& l) -> result<void> {
      if (l.kind == proc::lock_kind::lease)
        return why.refuse("descriptor ", e.fd, " holds a lease; release it before the checkpoint");
      // A POSIX lock belongs to the process: every descriptor of the file shows it.
      if (l.kind == proc::lock_kind::posix && !first_of_file) return {};
      file_lock record{};
      record.open_file = e.id;
      record.kind = l.kind == proc::lock_kind::posix ? lock_kind::posix
                    : l.kind == proc::lock_kind::ofd ? lock_kind::open_file_description
                                                     : lock_kind::flock;
      record.exclusive = l.write ? 1u : 0u;
      record.start = l.start;
      record.length = l.to_eof ? 0 : l.end - l.start + 1;
      return out.add(record);
    });
    if (!outcome.ok())
      return why.explain(outcome.error(), "cannot read the locks of descriptor ", e.fd);
    return {};
  }

  std::string_view proc_;
  int pid_;
  mutable_bytes scratch_;
  entry* entries_ = nullptr;
  u32 capacity_ = 0;
  u32 count_ = 0;
  u32 next_id_ = 0;
  unnamed_content unnamed_[max_unnamed] = {};
  u32 unnamed_count_ = 0;
  fixed_text<96> path_;
  fixed_text<4200> self_path_;
  char link_[4200];
  char text_[8192];
};

}  // namespace ckpt::state
