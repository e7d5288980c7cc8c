// SPDX-License-Identifier: MIT
//
// Puts the descriptors back. First everything is looked at and compared, so that a file that is
// gone or replaced ends the restart before anything outside has changed; then files are opened
// under free numbers and moved to theirs. Locks come last: closing any descriptor of a file would
// drop its POSIX locks.
#pragma once

#include <cstring>

#include "ckpt/base/text.hpp"
#include "ckpt/format/checksum.hpp"
#include "ckpt/format/walk.hpp"
#include "ckpt/state/files/policy.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/shared_restore.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

class files_restore {
 public:
  files_restore(files_policy policy, bytes metadata, shared_restore& shared, report& why)
      : policy_(policy), metadata_(metadata), shared_(shared), why_(why) {}

  /// Looks, changes nothing.
  // Context: agent, in restored memory
  result<void> check() {
    return each_file([&](const open_file& f, std::string_view path) -> result<void> {
      if (f.kind != file_kind::regular || shared_.mends(f)) return {};
      return check_regular(f, path);
    });
  }

  // Context: agent, in restored memory
  result<void> restore() {
    CKPT_TRY(park_outside());
    CKPT_TRY(close_all_others());
    CKPT_TRY(make_pipes());
    CKPT_TRY(shared_.restore([this](int fd) { return park(fd); }));
    CKPT_TRY(each_file([&](const open_file& f, std::string_view path) { return open(f, path); }));
    for (int& fd : parked_)
      if (fd >= 0) (void)sys::close(std::exchange(fd, -1));
    for (u32 i = 0; i < pipe_count_; ++i) {
      (void)sys::close(pipes_[i].reader);
      (void)sys::close(pipes_[i].writer);
    }
    CKPT_TRY(shared_.finish());
    return restore_locks();
  }

  /// Where whoever restarts looks for messages, while 2 is closed or already the program's.
  // Context: agent, in restored memory
  [[nodiscard]] int messages() const { return parked_[2] >= 0 ? parked_[2] : 2; }

 private:
  template <class Visitor>
  result<void> each_file(Visitor&& visit) {
    result<void> outcome;
    format::for_each<open_file>(metadata_, [&](const open_file& f, bytes tail) {
      if (outcome.ok()) outcome = visit(f, text_of_bytes(tail));
    });
    return outcome;
  }
  template <class Visitor>
  void each_descriptor(Visitor&& visit) {
    format::for_each<descriptor>(metadata_, [&](const descriptor& d, bytes) { visit(d); });
  }
  bool is_wanted(i32 fd) {
    bool wanted = false;
    each_descriptor([&](const descriptor& d) { wanted = wanted || d.number == fd; });
    return wanted;
  }

  const char* terminated(std::string_view path) {
    path_.clear();
    path_.append(path);
    return path_.c_str();
  }

  bool same_bytes(const open_file& f, const char* path) {
    if (f.head_checksum == 0 && f.tail_checksum == 0) return false;
    const sys::unique_fd fd(
        sys::openat(sys::abi::at_fdcwd, path,
                    sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock)
            .value_or(-1));
    if (!fd) return false;
    sys::linux_files kernel;
    std::byte buffer[fingerprint_bytes];
    const u64 n = f.size < sizeof buffer ? f.size.get() : sizeof buffer;
    const mutable_bytes part(buffer, n);
    return sys::pread_up_to(kernel, fd.get(), part, 0).value_or(0) == n &&
           format::checksum(part) == f.head_checksum &&
           sys::pread_up_to(kernel, fd.get(), part, f.size - n).value_or(0) == n &&
           format::checksum(part) == f.tail_checksum;
  }

  result<void> check_regular(const open_file& f, std::string_view path) {
    if (policy_ == files_policy::keep) return {};
    constexpr std::string_view cure = " (put it back, or restart with --files=keep)";
    sys::abi::stat now{};
    const char* name = terminated(path);
    if (auto r = sys::newfstatat(sys::abi::at_fdcwd, name, now, 0); !r.ok()) {
      if (r.error() == errc::no_entry)
        return why_.refuse("file ", quoted{path}, " has vanished", cure);
      return why_.explain(r.error(), "cannot look at file ", quoted{path});
    }
    if ((now.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg)
      return why_.refuse("file ", quoted{path}, " was replaced by something else", cure);
    const u64 size = static_cast<u64>(now.st_size);
    const i64 modified = static_cast<i64>(now.st_mtime_sec * 1'000'000'000 + now.st_mtime_nsec);
    const bool same_inode = now.st_dev == f.device && now.st_ino == f.inode;
    if (size < f.size)
      return why_.refuse("file ", quoted{path}, same_inode ? " has shrunk from " : " was replaced: ",
                         f.size.get(), same_inode ? " to " : " bytes then, ", size,
                         same_inode ? " bytes" : " now", cure);
    // On another machine the inode differs; the same time or the same bytes will do.
    if (same_inode || (size == f.size && modified == f.modified_ns) || same_bytes(f, name)) return {};
    return why_.refuse("file ", quoted{path}, " was replaced by another", cure);
  }

  /// A copy under a number that the program does not use.
  result<int> park(int fd) {
    for (i32 from = 0;;) {
      const auto copy = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, from);
      if (!copy.ok()) return copy.error();
      const int number = static_cast<int>(*copy);
      if (!is_wanted(number)) return number;
      (void)sys::close(number);
      from = number + 1;
    }
  }

  /// 0, 1 and 2 of whoever restarts.
  result<void> park_outside() {
    constexpr auto closed = static_cast<errc>(9);  // EBADF
    for (int fd = 0; fd <= 2; ++fd) {
      const auto copy = park(fd);
      if (!copy.ok() && copy.error() != closed)
        return why_.explain(copy.error(), "cannot put descriptor ", fd,
                            " aside (is RLIMIT_NOFILE too low?)");
      parked_[fd] = copy.value_or(-1);
    }
    return {};
  }

  /// Pipes within the program, filled with what they held. Their ends are opened from these.
  result<void> make_pipes() {
    result<void> outcome;
    format::for_each<pipe_content>(metadata_, [&](const pipe_content& p, bytes content) {
      if (!outcome.ok()) return;
      if (pipe_count_ == max_pipes) {
        outcome = why_.refuse("more than ", max_pipes, " pipes");
        return;
      }
      outcome = make_pipe(p, content);
      if (!outcome.ok()) (void)why_.explain(outcome.error(), "cannot make a pipe again");
    });
    return outcome;
  }
  result<void> make_pipe(const pipe_content& p, bytes content) {
    constexpr int f_setpipe_sz = 1031;
    int ends[2] = {-1, -1};
    CKPT_TRY(sys::pipe2(ends, sys::abi::o_cloexec));
    const sys::unique_fd reader(ends[0]);
    const sys::unique_fd writer(ends[1]);
    (void)sys::fcntl(writer.get(), f_setpipe_sz, static_cast<long>(p.capacity.get()));
    (void)sys::fcntl(writer.get(), sys::abi::f_setfl, sys::abi::o_nonblock);
    sys::linux_files kernel;
    CKPT_TRY(sys::write_all(kernel, writer.get(), content));
    internal_pipe made{p.inode, -1, -1};
    made.reader = CKPT_TRY(park(reader.get()));
    made.writer = CKPT_TRY(park(writer.get()));
    pipes_[pipe_count_++] = made;
    return {};
  }
  result<int> open_end(const open_file& f) {
    for (u32 i = 0; i < pipe_count_; ++i) {
      if (pipes_[i].inode != f.inode) continue;
      const int flags = reopen_flags(f);
      const bool reads = (flags & sys::abi::o_accmode) == sys::abi::o_rdonly;
      path_.clear();
      path_.append("/proc/self/fd/").append(reads ? pipes_[i].reader : pipes_[i].writer);
      return sys::openat(sys::abi::at_fdcwd, path_.c_str(), flags);
    }
    return errc::not_found;
  }

  result<void> close_all_others() {
    u32 from = 0;
    for (;;) {
      u32 next = ~u32{0};
      for (const int fd : parked_)
        if (fd >= 0 && static_cast<u32>(fd) >= from && static_cast<u32>(fd) < next)
          next = static_cast<u32>(fd);
      if (next > from) (void)sys::invoke(__NR_close_range, from, next == ~u32{0} ? next : next - 1, 0);
      if (next == ~u32{0}) return {};
      from = next + 1;
    }
  }

  result<void> open(const open_file& f, std::string_view path) {
    const auto opened = open_kind(f, path);
    if (!opened.ok())
      return why_.explain(opened.error(), "cannot open ", quoted{path}, " again (",
                          "make it accessible and restart)");
    const int fd = *opened;
    if (f.kind != file_kind::outside && f.kind != file_kind::device &&
        f.kind != file_kind::pipe && f.offset != 0)
      if (auto r = sys::lseek(fd, f.offset, sys::abi::seek_set); !r.ok())
        return why_.explain(r.error(), "cannot go to offset ", f.offset.get(), " of ", quoted{path});
    bool stays = false;
    result<void> outcome;
    each_descriptor([&](const descriptor& d) {
      if (d.open_file != f.id || !outcome.ok()) return;
      const bool close_on_exec = (d.flags & 1u) != 0;
      if (d.number == fd) {
        stays = true;
        (void)sys::fcntl(fd, sys::abi::f_setfd, close_on_exec ? sys::abi::fd_cloexec : 0);
        return;
      }
      // 0, 1 and 2 each come from the same number, though they were one open file before.
      const bool own_number = f.kind == file_kind::outside && d.number <= 2 && d.number >= 0;
      const int from = own_number && parked_[d.number] >= 0 ? parked_[d.number] : fd;
      const auto put = sys::dup3(from, d.number, close_on_exec ? sys::abi::o_cloexec : 0);
      if (!put.ok())
        outcome = why_.explain(put.error(), "cannot put ", quoted{path}, " on descriptor ",
                               d.number.get());
    });
    const bool parked = f.kind == file_kind::outside && fd == parked_[f.stdio];
    if (!stays && !parked) (void)sys::close(fd);
    return outcome;
  }

  static int reopen_flags(const open_file& f) {
    using namespace sys::abi;
    constexpr u32 kept = u32{o_accmode} | o_append | o_nonblock | o_direct | o_largefile |
                         o_directory | o_nofollow | o_path | 010000 /* O_DSYNC */ |
                         04010000 /* O_SYNC */ | 01000000 /* O_NOATIME */;
    return static_cast<int>(f.flags & kept) | o_noctty | o_cloexec;
  }

  result<int> open_kind(const open_file& f, std::string_view path) {
    switch (f.kind.get()) {
      case file_kind::outside: {
        const int fd = parked_[f.stdio];
        if (fd < 0) return sys::openat(sys::abi::at_fdcwd, "/dev/null", sys::abi::o_rdwr | sys::abi::o_cloexec);
        return fd;
      }
      case file_kind::pipe: return open_end(f);
      case file_kind::deleted:
        return open_unnamed(f);
      case file_kind::regular: return open_regular(f, path);
      default: return sys::openat(sys::abi::at_fdcwd, terminated(path), reopen_flags(f));
    }
  }

  result<int> open_regular(const open_file& f, std::string_view path) {
    int flags = reopen_flags(f);
    const bool writable = (flags & sys::abi::o_accmode) != sys::abi::o_rdonly;
    if (policy_ == files_policy::keep) {
      const auto fd = sys::openat(sys::abi::at_fdcwd, terminated(path), flags);
      if (fd.ok() || fd.error() != errc::no_entry) return fd;
      return sys::openat(sys::abi::at_fdcwd, terminated(path), flags | sys::abi::o_creat,
                         f.mode & 07777u);
    }
    const int fd = CKPT_TRY(sys::openat(sys::abi::at_fdcwd, terminated(path), flags));
    if (policy_ == files_policy::rewind && writable)
      if (auto r = rewind(f, fd, path); !r.ok()) return r.error();
    return fd;
  }

  /// Cuts a file that grew to its saved length; what grew is kept beside it first.
  result<void> rewind(const open_file& f, int fd, std::string_view path) {
    sys::abi::stat now{};
    CKPT_TRY(sys::fstat(fd, now));
    const u64 size = static_cast<u64>(now.st_size);
    if (size <= f.size) return {};
    const sys::unique_fd from(CKPT_TRY(
        sys::openat(sys::abi::at_fdcwd, terminated(path), sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::unique_fd to;
    for (u32 n = 0; !to; ++n) {
      path_.clear();
      path_.append(path).append(".after-ckpt");
      if (n > 0) path_.append('.').append(n);
      const auto made = sys::openat(sys::abi::at_fdcwd, path_.c_str(),
                                    sys::abi::o_wronly | sys::abi::o_creat | sys::abi::o_excl |
                                        sys::abi::o_nofollow | sys::abi::o_cloexec,
                                    now.st_mode & 0777u);
      if (made.ok())
        to = sys::unique_fd(*made);
      else if (made.error() != errc::exists || n == 100000)
        return why_.explain(made.error(), "cannot save what ", quoted{path}, " gained as ",
                            quoted{path_.view()});
    }
    sys::linux_files kernel;
    std::byte buffer[16 * 1024];
    for (u64 at = f.size; at < size;) {
      const u64 n = CKPT_TRY(sys::pread_up_to(kernel, from.get(), buffer, at));
      if (n == 0) break;
      if (auto r = sys::write_all(kernel, to.get(), bytes(buffer, n)); !r.ok())
        return why_.explain(r.error(), "cannot save what ", quoted{path}, " gained");
      at += n;
    }
    if (auto r = sys::fsync(to.get()); !r.ok())
      return why_.explain(r.error(), "cannot save what ", quoted{path}, " gained");
    return sys::ftruncate(fd, f.size);
  }

  /// The object is there by now; each open file of it has an offset of its own.
  result<int> open_unnamed(const open_file& f) {
    path_.clear();
    path_.append("/proc/self/fd/").append(shared_.descriptor_of(f.content));
    return sys::openat(sys::abi::at_fdcwd, path_.c_str(), reopen_flags(f) & ~sys::abi::o_nofollow);
  }

  result<void> restore_locks() {
    result<void> outcome;
    format::for_each<file_lock>(metadata_, [&](const file_lock& l, bytes) {
      if (!outcome.ok()) return;
      i32 fd = -1;
      each_descriptor([&](const descriptor& d) {
        if (d.open_file == l.open_file && fd < 0) fd = d.number;
      });
      if (fd < 0) return;
      outcome = set_lock(l, fd);
      if (outcome.ok()) return;
      const errc error = outcome.error();
      format::for_each<open_file>(metadata_, [&](const open_file& f, bytes tail) {
        if (f.id != l.open_file) return;
        if (error == errc::again || error == errc::access)
          outcome = why_.refuse("another process holds the lock on ", quoted{text_of_bytes(tail)},
                                " that the program had (end it and restart again)");
        else
          outcome = why_.explain(error, "cannot lock ", quoted{text_of_bytes(tail)}, " again");
      });
    });
    return outcome;
  }

  static result<void> set_lock(const file_lock& l, int fd) {
    if (l.kind == lock_kind::flock)
      return sys::flock(fd, (l.exclusive != 0 ? sys::abi::lock_ex : sys::abi::lock_sh) |
                                sys::abi::lock_nb);
    sys::abi::flock64 lock{};
    lock.l_type = l.exclusive != 0 ? sys::abi::f_wrlck : sys::abi::f_rdlck;
    lock.l_start = static_cast<i64>(l.start.get());
    lock.l_len = static_cast<i64>(l.length.get());
    const int command =
        l.kind == lock_kind::posix ? sys::abi::f_setlk : sys::abi::f_ofd_setlk;
    const auto done = sys::fcntl(fd, command, &lock);
    if (!done.ok()) return done.error();
    return {};
  }

  struct internal_pipe {
    u64 inode;
    int reader, writer;
  };
  static constexpr u32 max_pipes = 128;

  files_policy policy_;
  bytes metadata_;
  shared_restore& shared_;
  report& why_;
  int parked_[3] = {-1, -1, -1};
  internal_pipe pipes_[max_pipes];
  u32 pipe_count_ = 0;
  fixed_text<4300> path_;
};

}  // namespace ckpt::state
