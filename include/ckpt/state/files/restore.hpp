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
#include "ckpt/state/files/beside.hpp"
#include "ckpt/state/files/check.hpp"
#include "ckpt/state/files/epoll.hpp"
#include "ckpt/state/files/event_files.hpp"
#include "ckpt/state/files/file_index.hpp"
#include "ckpt/state/files/policy.hpp"
#include "ckpt/state/files/records.hpp"
#include "ckpt/state/files/sockets.hpp"
#include "ckpt/state/segment.hpp"
#include "ckpt/state/shared_restore.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::state {

class files_restore {
 public:
  files_restore(files_policy policy, bytes metadata, shared_restore& shared, report& why)
      : policy_(policy), metadata_(metadata), shared_(shared), why_(why) {}

  /// Goes by other records from now on.
  // Context: agent, in restored memory
  void use(bytes metadata) { metadata_ = metadata; }

  /// Looks, changes nothing.
  // Context: agent, in restored memory
  result<void> check() {
    if (auto r = index_.build(metadata_); !r.ok())
      return why_.explain(r.error(), "cannot get memory to restore the descriptors");
    return each_file([&](const open_file& f, std::string_view path) -> result<void> {
      if (f.kind != file_kind::regular || f.marks.has(file_mark::as_given) || shared_.mends(f) ||
          any_descriptor(f.id) < 0)
        return {};
      return check_file(policy_, f, terminated(path), why_);
    });
  }

  // Context: agent, in restored memory
  result<void> restore() {
    raise_limit();
    CKPT_TRY(park_outside());
    CKPT_TRY(close_all_others());
    CKPT_TRY(shared_.restore([this](int fd) { return park(fd); }));
    CKPT_TRY(each_file([&](const open_file& f, std::string_view path) { return open(f, path); }));
    CKPT_TRY(each_file([&](const open_file& f, std::string_view) { return fill_epoll(f); }));
    CKPT_TRY(each_file([&](const open_file& f, std::string_view) { return start_timer(f); }));
    for (int& fd : parked_)
      if (fd >= 0) (void)sys::close(std::exchange(fd, -1));
    CKPT_TRY(shared_.finish());
    CKPT_TRY(restore_locks());
    index_.release();
    return {};
  }

  /// Files that an epoll no longer watches, because what whoever restarts has in their place cannot
  /// be watched (/dev/null on standard input).
  [[nodiscard]] u32 unwatched() const { return unwatched_; }

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
  const char* terminated(std::string_view path) {
    path_.clear();
    path_.append(path);
    return path_.c_str();
  }

  /// A program may have raised its limit after its start; its own comes back later.
  void raise_limit() {
    sys::abi::rlimit64 limit{};
    if (!sys::prlimit64(sys::abi::rlimit_nofile, nullptr, &limit).ok()) return;
    limit.soft = limit.hard;
    (void)sys::prlimit64(sys::abi::rlimit_nofile, &limit, nullptr);
  }

  /// A copy under a number that the program does not use: above all of them, or between.
  result<int> park(int fd) {
    const auto above = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, index_.end_of_numbers());
    if (above.ok()) return static_cast<int>(*above);
    for (i32 from = 0;;) {
      const auto copy = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, index_.next_free(from));
      if (!copy.ok()) return copy.error();
      const int number = static_cast<int>(*copy);
      if (index_.next_free(number) == number) return number;
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

  /// A pipe within the program, filled with what it held, and all its ends: as few numbers as
  /// possible are taken at one time, since a program may use almost all that its limit allows.
  [[gnu::cold]] result<void> make_pipe(u64 inode) {
    constexpr int f_setpipe_sz = 1031;
    const saved_pipe* pipe = index_.find_pipe(inode);
    if (pipe == nullptr) return errc::not_found;
    bytes content;
    const auto p = CKPT_TRY(record_at<pipe_content>(pipe->offset, content));
    sys::unique_fd both;
    {
      int ends[2] = {-1, -1};
      CKPT_TRY(sys::pipe2(ends, sys::abi::o_cloexec));
      const sys::unique_fd reader(ends[0]);
      const sys::unique_fd writer(ends[1]);
      (void)sys::fcntl(writer.get(), f_setpipe_sz, static_cast<long>(p.capacity.get()));
      const int packets = p.packets != 0 ? sys::abi::o_direct : 0;
      (void)sys::fcntl(writer.get(), sys::abi::f_setfl, sys::abi::o_nonblock | packets);
      sys::linux_files kernel;
      result<void> outcome;
      if (p.packets == 0)
        outcome = sys::write_all(kernel, writer.get(), content);
      else if (!for_each_message(content, [&](bytes packet) {
                 if (outcome.ok()) outcome = sys::write_all(kernel, writer.get(), packet);
               }))
        outcome = errc::malformed;
      CKPT_TRY(outcome);
      both = sys::unique_fd(CKPT_TRY(park(writer.get())));
    }
    for (u32 id = pipe->first_end; id != file_index::no_file; id = index_.next_end(id)) {
      bytes path;
      const auto f = CKPT_TRY(record_at<open_file>(index_.offset(id), path));
      CKPT_TRY(put(f, CKPT_TRY(open_end(f, both.get())), text_of_bytes(path)));
    }
    return {};
  }
  result<int> open_end(const open_file& f, int pipe) {
    path_.clear();
    path_.append("/proc/self/fd/").append(pipe);
    // Some kernels know packet mode only from fcntl(2).
    const int flags = reopen_flags(f);
    const int fd =
        CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path_.c_str(), flags & ~sys::abi::o_direct));
    if ((flags & sys::abi::o_direct) != 0) set_flags(fd, f);
    return fd;
  }

  template <class Record>
  result<Record> record_at(u64 offset, bytes& tail) {
    format::record_cursor cursor(metadata_.subspan(offset));
    const auto view = CKPT_TRY(cursor.next());
    if (view.type != Record::record) return errc::malformed;
    tail = view.tail;
    return wire::decode<Record>(view.fixed);
  }
  /// The record of its own that an eventfd and its kin have.
  template <class Record>
  result<Record> object_of(u32 id, bytes& tail) {
    const u64 offset = index_.object(id);
    if (offset == file_index::none) return errc::not_found;
    return record_at<Record>(offset, tail);
  }
  template <class Record>
  result<Record> object_of(u32 id) {
    bytes tail;
    return object_of<Record>(id, tail);
  }

  static void set_flags(int fd, const open_file& f) {
    using namespace sys::abi;
    const u32 settable = u32{o_append} | o_nonblock | o_direct | 01000000 /* O_NOATIME */;
    (void)sys::fcntl(fd, f_setfl, static_cast<long>(f.flags & settable));
  }
  result<int> make_object(const open_file& f) {
    switch (f.kind.get()) {
      case file_kind::eventfd:
        return make_eventfd(CKPT_TRY(object_of<event_counter>(f.id)));
      case file_kind::timerfd:
        return make_timerfd(CKPT_TRY(object_of<timer_file>(f.id)));
      case file_kind::signalfd:
        return make_signalfd(CKPT_TRY(object_of<signal_file>(f.id)));
      case file_kind::epoll:
        return sys::epoll_create1(0);
      default:
        return errc::invalid;
    }
  }
  /// The end that comes first makes both.
  result<void> make_pair(const open_file& f, std::string_view path) {
    bytes tail;
    const auto fields = CKPT_TRY(object_of<socket_end>(f.id, tail));
    const saved_socket own{fields, tail};
    const bool alone = fields.peer == no_peer;
    saved_socket peer{};
    if (!alone) {
      peer.fields = CKPT_TRY(object_of<socket_end>(fields.peer, peer.tail));
      if (peer.fields.peer != f.id || fields.peer == f.id) return errc::malformed;
    }
    int made[2] = {-1, -1};
    CKPT_TRY(make_sockets(own, alone ? nullptr : &peer, made));
    sys::unique_fd first(made[0]);
    sys::unique_fd second(made[1]);
    // Each may have got the other's number.
    const auto parked = park(first.get());
    first = sys::unique_fd(CKPT_TRY(parked));
    if (!alone) second = sys::unique_fd(CKPT_TRY(park(second.get())));
    set_flags(first.get(), f);
    CKPT_TRY(put(f, first.release(), path));
    if (alone) return {};
    bytes name;
    const auto other = CKPT_TRY(record_at<open_file>(index_.offset(fields.peer), name));
    set_flags(second.get(), other);
    return put(other, second.release(), text_of_bytes(name));
  }

  /// A descriptor of the open file, -1 for none.
  int any_descriptor(u32 id) {
    int fd = -1;
    index_.each_descriptor(id, [&](const descriptor& d) {
      if (fd < 0) fd = d.number;
    });
    return fd;
  }

  result<void> fill_epoll(const open_file& f) {
    if (f.kind != file_kind::epoll) return {};
    bytes tail;
    const auto record = object_of<epoll>(f.id, tail);
    if (!record.ok()) return why_.explain(record.error(), "cannot make an epoll again");
    const int fd = any_descriptor(f.id);
    if (fd < 0) return {};
    // Those that have fired do so again, and only they must be there then.
    for (const bool fired : {true, false})
      for (u64 i = 0; i < record->count; ++i) {
        const epoll_entry e = epoll_entry_at(tail, i);
        if (epoll_detail::has_fired(e.events) != fired) continue;
        const auto registered = register_under_number(fd, e);
        constexpr auto cannot_be_watched = static_cast<errc>(1);  // EPERM
        if (!registered.ok() && registered.error() == cannot_be_watched)
          ++unwatched_;
        else if (!registered.ok())
          return why_.explain(registered.error(), "cannot register descriptor ", e.descriptor.get(),
                              " in the epoll on descriptor ", fd, " again");
      }
    return {};
  }
  /// The number may be closed or another file's by now: then the file is put there for a moment.
  result<void> register_under_number(int epoll_fd, const epoll_entry& e) {
    const int number = e.descriptor;
    const descriptor* there = index_.find(number);
    if (there != nullptr && there->open_file == e.open_file)
      return register_entry(epoll_fd, number, e);
    const int file = any_descriptor(e.open_file);
    if (file < 0) return {};  // closed since, and so no longer watched
    const sys::unique_fd guest(CKPT_TRY(park(file)));
    const sys::unique_fd epoll_copy(CKPT_TRY(park(epoll_fd)));
    const sys::unique_fd host(there != nullptr ? CKPT_TRY(park(number)) : -1);
    CKPT_TRY(sys::dup3(guest.get(), number, sys::abi::o_cloexec));
    const auto registered = register_entry(epoll_copy.get(), number, e);
    if (there == nullptr)
      (void)sys::close(number);
    else
      CKPT_TRY(sys::dup3(host.get(), number, (there->flags & 1u) != 0 ? sys::abi::o_cloexec : 0));
    return registered;
  }

  result<void> start_timer(const open_file& f) {
    if (f.kind != file_kind::timerfd) return {};
    const int fd = any_descriptor(f.id);
    const auto t = object_of<timer_file>(f.id);
    if (fd < 0 || !t.ok()) return {};
    if (auto r = start_timerfd(fd, *t); !r.ok())
      return why_.explain(r.error(), "cannot start the timer on descriptor ", fd, " again");
    return {};
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
    if (index_.is_placed(f.id) || any_descriptor(f.id) < 0) return {};
    if (f.kind == file_kind::pipe || f.kind == file_kind::socket) {
      const auto made = f.kind == file_kind::pipe ? make_pipe(f.inode) : make_pair(f, path);
      if (!made.ok()) return why_.explain(made.error(), "cannot make ", quoted{path}, " again");
      return {};
    }
    const auto opened = open_kind(f, path);
    if (!opened.ok() && is_object(f.kind))
      return why_.explain(opened.error(), "cannot make ", quoted{path}, " again");
    if (!opened.ok())
      return why_.explain(opened.error(), "cannot open ", quoted{path}, " again (",
                          "make it accessible and restart)");
    const int fd = *opened;
    if (is_object(f.kind)) set_flags(fd, f);
    const bool given = f.marks.has(file_mark::as_given);
    constexpr auto no_offsets = static_cast<errc>(29);  // ESPIPE
    const bool has_offset =
        f.kind != file_kind::outside && f.kind != file_kind::device && !is_object(f.kind);
    if (has_offset && f.offset != 0)
      if (auto r = sys::lseek(fd, f.offset, sys::abi::seek_set);
          !r.ok() && !(given && r.error() == no_offsets))
        return why_.explain(r.error(), "cannot go to offset ", f.offset.get(), " of ", quoted{path});
    return put(f, fd, path);
  }
  /// On all numbers that the open file has; `fd` is closed unless it is one of them.
  result<void> put(const open_file& f, int fd, std::string_view path) {
    index_.set_placed(f.id);
    bool stays = false;
    result<void> outcome;
    index_.each_descriptor(f.id, [&](const descriptor& d) {
      if (!outcome.ok()) return;
      const bool close_on_exec = (d.flags & 1u) != 0;
      if (d.number == fd) {
        stays = true;
        (void)sys::fcntl(fd, sys::abi::f_setfd, close_on_exec ? sys::abi::fd_cloexec : 0);
        return;
      }
      // 0, 1 and 2 each come from the same number, though they were one open file before.
      const bool own_number = f.kind == file_kind::outside && d.number <= 2 && d.number >= 0;
      const int from = own_number && parked_[d.number] >= 0 ? parked_[d.number] : fd;
      const auto moved = sys::dup3(from, d.number, close_on_exec ? sys::abi::o_cloexec : 0);
      if (!moved.ok())
        outcome = why_.explain(moved.error(), "cannot put ", quoted{path}, " on descriptor ",
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
      case file_kind::deleted: return open_unnamed(f);
      case file_kind::regular: return open_regular(f, path);
      default:
        if (is_object(f.kind)) return make_object(f);
        return sys::openat(sys::abi::at_fdcwd, terminated(path), reopen_flags(f));
    }
  }

  result<int> open_regular(const open_file& f, std::string_view path) {
    int flags = reopen_flags(f);
    const bool writable = (flags & sys::abi::o_accmode) != sys::abi::o_rdonly;
    const bool given = f.marks.has(file_mark::as_given);
    if (given || policy_ == files_policy::keep) {
      const auto fd = sys::openat(sys::abi::at_fdcwd, terminated(path), flags);
      if (fd.ok() || fd.error() != errc::no_entry || (given && !writable)) return fd;
      return sys::openat(sys::abi::at_fdcwd, terminated(path), flags | sys::abi::o_creat,
                         mode_to_create(f));
    }
    const int fd = CKPT_TRY(sys::openat(sys::abi::at_fdcwd, terminated(path), flags));
    if (policy_ == files_policy::rewind && writable)
      if (auto r = rewind(f, fd, path); !r.ok()) return r.error();
    return fd;
  }

  /// What a path that was given takes the place of may be a device or a pipe.
  static u32 mode_to_create(const open_file& f) {
    const bool file = (f.mode & sys::abi::s_ifmt) == sys::abi::s_ifreg;
    return file ? f.mode & 07777u : 0600;
  }

  /// Cuts a file that grew to its saved length; what grew is kept beside it first.
  result<void> rewind(const open_file& f, int fd, std::string_view path) {
    sys::abi::stat now{};
    CKPT_TRY(sys::fstat(fd, now));
    const u64 size = static_cast<u64>(now.st_size);
    if (size <= f.size) return {};
    const sys::unique_fd from(CKPT_TRY(
        sys::openat(sys::abi::at_fdcwd, terminated(path), sys::abi::o_rdonly | sys::abi::o_cloexec)));
    const auto made = create_beside(path, now.st_mode, path_);
    if (!made.ok())
      return why_.explain(made.error(), "cannot save what ", quoted{path}, " gained as ",
                         quoted{path_.view()});
    const sys::unique_fd to(*made);
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
      const i32 fd = any_descriptor(l.open_file);
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

  files_policy policy_;
  bytes metadata_;
  shared_restore& shared_;
  report& why_;
  int parked_[3] = {-1, -1, -1};
  file_index index_;
  u32 unwatched_ = 0;
  fixed_text<4300> path_;
};

}  // namespace ckpt::state
