// SPDX-License-Identifier: MIT
//
// Describes every descriptor of the frozen program, or names the first that cannot come back.
#pragma once

#include <cstring>

#include "ckpt/format/checksum.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/state/files/classifier.hpp"
#include "ckpt/state/files/epoll.hpp"
#include "ckpt/state/files/epoll_targets.hpp"
#include "ckpt/state/files/event_files.hpp"

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
  static constexpr u32 max_unnamed = most_unnamed;

  /// `proc` is "/proc/PID" of the program and `task` that of one of its threads; `pid` and `tid` are
  /// their numbers for calls. A main thread that has ended shows no descriptors. `scratch` holds the names
  /// and tables of the walk, at least 64 KiB; a descriptor takes some 200 bytes of it.
  files_capture(std::string_view proc, std::string_view task, int pid, int tid,
                mutable_bytes scratch, const descriptor_wishes& wishes)
      : proc_(proc), wishes_(wishes), files_(task, pid, tid, scratch) {}

  // Context: helper, all threads frozen
  result<void> capture(format::metadata_builder& out, report& why) {
    CKPT_TRY(files_.find(wishes_, why));
    take_paths();
    CKPT_TRY(each_file([&](entry& e) { return decide_or_ignore(e, why); }));
    CKPT_TRY(each_file([&](entry& e) { return describe_file(e, out, why); }));
    for (const entry& e : files_.table().all()) {
      if (is_gone(e)) continue;
      descriptor d{};
      d.number = e.fd;
      d.open_file = files_.table().at(e.first).id;
      d.flags = (e.info.flags & sys::abi::o_cloexec) != 0 ? 1u : 0u;
      CKPT_TRY(out.add(d));
    }
    CKPT_TRY(each_file([&](entry& e) {
      return is_object(e.kind) ? describe_object(e, out, why) : result<void>();
    }));
    return each_file([&](entry& e) {
      return e.locked ? describe_locks(e, out, why) : result<void>();
    });
  }

  [[nodiscard]] std::span<const unnamed_content> unnamed() const { return {unnamed_, unnamed_count_}; }

  /// The descriptors of a file, one that may write before all others.
  [[nodiscard]] open_elsewhere look_for(u64 device, u64 inode) const {
    open_elsewhere found;
    for (const entry& e : files_.table().all()) {
      if (e.st_dev != device || e.st_ino != inode || found.writable) continue;
      found.descriptor = e.fd;
      found.writable = (e.info.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly};
    }
    return found;
  }

  /// By the inode alone: some file systems show another device to maps than to stat(2).
  [[nodiscard]] bool is_open_for_writing(u64 inode) const {
    for (const entry& e : files_.table().all())
      if (e.st_ino == inode && (e.info.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly})
        return true;
    return false;
  }

  /// The path that a descriptor shows, until the next question.
  // Context: helper, all threads frozen
  result<std::string_view> shown_path(i32 fd) { return files_.link_of(fd); }

  /// Opens the file behind a descriptor of the program for reading.
  // Context: helper, all threads frozen
  result<int> reopen(i32 fd) { return files_.reopen(fd); }

 private:
  using entry = seen_descriptor;

  [[nodiscard]] bool is_gone(const entry& e) const {
    return e.ignored || files_.table().all()[e.first].ignored;
  }
  /// Each open file that some descriptor keeps.
  template <class Visitor>
  result<void> each_file(Visitor&& visit) {
    for (entry& e : files_.table().all())
      if (files_.table().is_first(e) && !e.ignored) CKPT_TRY(visit(e));
    return {};
  }

  /// A path is the open file's: the lowest descriptor that was given one speaks for all of it.
  void take_paths() {
    for (u32 i = 0; i < wishes_.said.size(); ++i) {
      if (wishes_.said[i].path.empty()) continue;
      const entry* e = files_.table().find(wishes_.said[i].fd);
      if (e == nullptr || is_gone(*e)) continue;
      entry& file = files_.table().at(e->first);
      if (!std::exchange(file.as_given, true)) file.wish = i;
    }
  }
  result<void> decide_or_ignore(entry& e, report& why) {
    const auto decided = decide(e, why);
    if (decided.ok() || decided.error() != errc::refused ||
        !wishes_.forgives((e.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifsock))
      return decided;
    why = report();
    e.ignored = true;
    return {};
  }
  /// What it is, before anything is written down.
  result<void> decide(entry& e, report& why) {
    const auto link = files_.link_of(e.fd);
    if (!link.ok()) return why.explain(link.error(), "cannot read the path of descriptor ", e.fd);
    if (e.as_given) {
      e.kind = file_kind::regular;
      return {};
    }
    CKPT_TRY(kinds_.decide(e, *link, why));
    return e.kind == file_kind::deleted ? take_content(e, why) : result<void>();
  }

  result<void> describe_file(entry& e, format::metadata_builder& out, report& why) {
    const auto link = files_.link_of(e.fd);
    if (!link.ok()) return why.explain(link.error(), "cannot read the path of descriptor ", e.fd);
    e.id = next_id_++;
    open_file f{};
    f.id = e.id;
    f.kind = e.kind;
    f.flags = e.info.flags & ~u32{sys::abi::o_cloexec};
    // How an unnamed file was made, not what it is.
    constexpr u32 made_unnamed = u32{sys::abi::o_tmpfile} & ~u32{sys::abi::o_directory};
    if ((f.flags & made_unnamed) != 0) f.flags = f.flags & ~u32{sys::abi::o_tmpfile};
    f.mode = e.st_mode;
    f.offset = e.info.position;
    f.stdio = e.stdio;
    if (e.as_given) {
      f.marks.set(file_mark::as_given);
      return out.add(f, bytes_of_text(wishes_.said[e.wish].path));
    }
    f.size = static_cast<u64>(e.st_size);
    f.modified_ns = e.modified_ns;
    f.device = e.st_dev;
    f.inode = e.st_ino;
    f.content = e.content;
    std::string_view path = *link;
    if (e.kind == file_kind::regular) fingerprint(e, f);
    if (e.kind == file_kind::deleted && !path.starts_with("/memfd:"))
      path = maps::without_deleted(path);
    if (e.kind == file_kind::kernel_file) path = as_self(path);
    CKPT_TRY(out.add(f, bytes_of_text(path)));
    if (e.kind == file_kind::pipe && &files_.table().file_of(e) == &e) return save_pipe(e, out, why);
    return {};
  }

  /// What is in no open_file of its kind. Every open file has its number by now.
  result<void> describe_object(const entry& e, format::metadata_builder& out, report& why) {
    const auto outcome = [&]() -> result<void> {
      const sys::unique_fd fd(CKPT_TRY(files_.borrow(e.fd)));
      switch (e.kind) {
        case file_kind::eventfd: {
          auto counter = CKPT_TRY(capture_eventfd(fd.get(), CKPT_TRY(files_.read_info(e.fd))));
          counter.open_file = e.id;
          return out.add(counter);
        }
        case file_kind::timerfd: {
          auto timer = CKPT_TRY(capture_timerfd(fd.get(), [&] { return files_.read_info(e.fd); }));
          timer.open_file = e.id;
          return out.add(timer);
        }
        case file_kind::signalfd: {
          signal_file s{};
          s.open_file = e.id;
          s.mask = CKPT_TRY(proc::parse_signalfd(CKPT_TRY(files_.read_info(e.fd))));
          return out.add(s);
        }
        case file_kind::epoll:
          return describe_epoll(e, fd.get(), out, why);
        default:
          break;
      }
      const unix_socket* s = kinds_.find_socket(e.st_ino);
      const entry* peer = s->peer != 0 ? files_.table().find_file(e.st_dev, s->peer) : nullptr;
      if (peer != nullptr && is_gone(*peer)) peer = nullptr;
      report reason;
      const sys::unique_fd other(peer != nullptr ? CKPT_TRY(files_.borrow(peer->fd)) : -1);
      const auto captured = capture_socket(fd.get(), other.get(), *s, e.id,
                                           peer != nullptr ? files_.table().at(peer->first).id : no_peer,
                                           files_.table().left(), out, reason);
      if (!captured.ok() && captured.error() == errc::refused)
        return refuse_socket(why, e.fd, reason);
      return captured;
    }();
    if (!outcome.ok()) return why.explain(outcome.error(), "cannot look into descriptor ", e.fd);
    return {};
  }

  /// `fd` is ours and refers to the same epoll.
  result<void> describe_epoll(const entry& e, int fd, format::metadata_builder& out, report& why) {
    const auto text = CKPT_TRY(files_.read_long_info(e.fd));
    mutable_bytes room = files_.table().left().subspan(align_up(text.size(), 16));
    epoll record{};
    record.open_file = e.id;
    CKPT_TRY(out.begin(record));
    CKPT_TRY(each_epoll_target(
        text, room, [&](const proc::epoll_target& t, u32 nth, bool alone) -> result<void> {
          if (alone && is_still_registered(fd, t))
            return add_entry(t, *files_.table().find(t.descriptor), record, out);
          const auto* watched = CKPT_TRY(find_epoll_target(files_, e.fd, t, nth, why));
          return add_entry(t, *watched, record, out);
        }));
    out.amend(record);
    return out.end();
  }
  /// What is closed after a restart is not watched any more.
  result<void> add_entry(const proc::epoll_target& t, const entry& watched, epoll& record,
                         format::metadata_builder& out) {
    if (files_.table().at(watched.first).ignored) return {};
    record.count = record.count + 1;
    epoll_entry e{};
    e.descriptor = t.descriptor;
    e.open_file = files_.table().at(watched.first).id;
    e.events = t.events;
    e.data = t.data;
    return out.append(bytes_of(e));
  }
  /// True when the number still is the file that it was registered for, as it nearly always is:
  /// then the kernel refuses to register it again, and finds that out by one look into a tree. Our
  /// copy of the program's table has the file at this number; what the kernel does accept is taken
  /// back.
  bool is_still_registered(int epoll_fd, const proc::epoll_target& t) {
    const entry* e = files_.table().find(t.descriptor);
    if (e == nullptr || e->st_dev != t.device || e->st_ino != t.inode) return false;
    const auto same = sys::kcmp(files_.tid(), sys::getpid(), sys::abi::kcmp_file,
                                static_cast<u64>(t.descriptor), static_cast<u64>(t.descriptor));
    if (same.value_or(1) != 0) return false;
    const auto added = sys::epoll_ctl(epoll_fd, sys::abi::epoll_ctl_add, t.descriptor, {0, 0});
    if (added.ok()) (void)sys::epoll_ctl(epoll_fd, sys::abi::epoll_ctl_del, t.descriptor, {0, 0});
    return !added.ok() && added.error() == errc::exists;
  }
  /// tee(2) copies what a pipe holds and leaves it there.
  [[gnu::cold]] result<void> save_pipe(const entry& e, format::metadata_builder& out, report& why) {
    const auto cannot = [&](errc error) {
      return why.explain(error, "cannot copy what the pipe on descriptor ", e.fd, " holds");
    };
    constexpr int f_setpipe_sz = 1031, f_getpipe_sz = 1032;
    const auto source = files_.reopen(e.fd);  // a new reader, whichever end this is
    if (!source.ok()) return cannot(source.error());
    const sys::unique_fd from(*source);
    pipe_content p{};
    p.inode = e.st_ino;
    p.capacity = static_cast<u64>(sys::fcntl(from.get(), f_getpipe_sz, 0).value_or(65536));
    p.packets = e.packets ? 1u : 0u;
    CKPT_TRY(out.begin(p));
    int ends[2] = {-1, -1};
    if (auto r = sys::pipe2(ends, sys::abi::o_cloexec | sys::abi::o_nonblock); !r.ok())
      return cannot(r.error());
    const sys::unique_fd copy(ends[0]);
    const sys::unique_fd into(ends[1]);
    (void)sys::fcntl(into.get(), f_setpipe_sz, static_cast<long>(p.capacity.get()));
    // A copy that is shorter than the pipe's content is no copy.
    i32 held = 0;
    if (auto r = sys::ioctl(from.get(), sys::abi::fionread, &held); !r.ok())
      return cannot(r.error());
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
      // A read takes one packet, and a packet is no longer than this.
      const wire::le<u32> length = static_cast<u32>(*got);
      if (e.packets) CKPT_TRY(out.append(bytes_of(length)));
      CKPT_TRY(out.append(bytes(buffer, *got)));
      left -= *got;
    }
    return out.end();
  }

  /// Two descriptors may have opened the same unnamed file: then they share its contents too.
  result<void> take_content(entry& e, report& why) {
    if (const sys::unique_fd readable(files_.reopen(e.fd).value_or(-1)); !readable)
      return refuse_unreadable(files_, e, why);
    for (u32 i = 0; i < unnamed_count_; ++i)
      if (unnamed_[i].st.st_dev == e.st_dev && unnamed_[i].st.st_ino == e.st_ino) {
        e.content = i + 1;
        return {};
      }
    if (unnamed_count_ == max_unnamed)
      return refuse_more_unnamed(why);
    unnamed_content& content = unnamed_[unnamed_count_];
    content.descriptor = e.fd;
    CKPT_TRY(files_.stat_of(e.fd, content.st));
    e.content = ++unnamed_count_;
    return {};
  }

  /// /proc/1234/… of the program itself is whatever process it is after a restart, and
  /// /proc/1234/task/1234/… its thread.
  std::string_view as_self(std::string_view path) {
    const auto below = [](std::string_view whole, std::string_view part) {
      return whole.starts_with(part) && (whole.size() == part.size() || whole[part.size()] == '/');
    };
    if (!below(path, proc_)) return path;
    const bool of_thread = below(path, files_.task());
    path.remove_prefix(of_thread ? files_.task().size() : proc_.size());
    self_path_.clear();
    self_path_.append(of_thread ? "/proc/thread-self" : "/proc/self").append(path);
    return self_path_.view();
  }

  void fingerprint(const entry& e, open_file& f) {
    const sys::unique_fd fd(files_.reopen(e.fd).value_or(-1));
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
    const auto text = files_.read_long_info(e.fd);
    if (!text.ok()) return why.explain(text.error(), "cannot look at descriptor ", e.fd);
    const bool first_of_file = &files_.table().file_of(e) == &e;
    const auto outcome = proc::for_each_lock(*text, [&](const proc::file_lock& l) -> result<void> {
      if (l.kind == proc::lock_kind::lease)
        return refuse_lease(e, why);
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
  const descriptor_wishes& wishes_;
  program_files files_;
  file_classifier<own_copies> kinds_{files_, own_copies(files_)};
  u32 next_id_ = 0;
  unnamed_content unnamed_[max_unnamed] = {};
  u32 unnamed_count_ = 0;
  fixed_text<4200> self_path_;
};

}  // namespace ckpt::state
