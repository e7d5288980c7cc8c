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
#include "ckpt/state/files/epoll.hpp"
#include "ckpt/state/files/event_files.hpp"
#include "ckpt/state/files/open_files.hpp"
#include "ckpt/state/files/sockets.hpp"

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

  /// `proc` is "/proc/PID" of the program and `task` that of one of its threads; `pid` and `tid` are
  /// their numbers for calls. A main thread that has ended shows no descriptors. `scratch` holds the names
  /// and tables of the walk, at least 64 KiB; a descriptor takes some 200 bytes of it.
  files_capture(std::string_view proc, std::string_view task, int pid, int tid,
                mutable_bytes scratch)
      : proc_(proc), task_(task), pid_(pid), tid_(tid), table_(tid, scratch) {}

  // Context: helper, all threads frozen
  result<void> capture(format::metadata_builder& out, report& why) {
    CKPT_TRY(list(why));
    for (entry& e : table_.all()) CKPT_TRY(look_at(e, why));
    CKPT_TRY(table_.find_groups(why));
    for (entry& e : table_.all())
      if (table_.is_first(e)) CKPT_TRY(describe_file(e, out, why));
    for (const entry& e : table_.all()) {
      descriptor d{};
      d.number = e.fd;
      d.open_file = table_.at(e.first).id;
      d.flags = (e.info.flags & sys::abi::o_cloexec) != 0 ? 1u : 0u;
      CKPT_TRY(out.add(d));
    }
    for (const entry& e : table_.all())
      if (table_.is_first(e) && is_object(e.kind)) CKPT_TRY(describe_object(e, out, why));
    for (const entry& e : table_.all())
      if (table_.is_first(e) && e.locked) CKPT_TRY(describe_locks(e, out, why));
    return {};
  }

  [[nodiscard]] std::span<const unnamed_content> unnamed() const { return {unnamed_, unnamed_count_}; }

  /// The descriptors of a file, one that may write before all others.
  [[nodiscard]] open_elsewhere look_for(u64 device, u64 inode) const {
    open_elsewhere found;
    for (const entry& e : table_.all()) {
      if (e.st_dev != device || e.st_ino != inode || found.writable) continue;
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
  using entry = seen_descriptor;

  const char* path_of(std::string_view directory, i64 number = -1) {
    path_.clear();
    path_.append(task_).append(directory);
    if (number >= 0) path_.append(number);
    return path_.c_str();
  }

  result<void> list(report& why) {
    const auto opened = sys::openat(sys::abi::at_fdcwd, path_of("/fd"),
                                    sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec);
    if (!opened.ok()) return why.explain(opened.error(), "cannot list ", path_.view());
    const sys::unique_fd dir(*opened);
    return table_.list(dir.get(), why);
  }

  /// The text of fdinfo; of what is longer than `to` its beginning.
  result<std::string_view> read_info(i32 fd, mutable_bytes to) {
    const sys::unique_fd info(CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path_of("/fdinfo/", fd),
                                                   sys::abi::o_rdonly | sys::abi::o_cloexec)));
    sys::linux_files kernel;
    const u64 size = CKPT_TRY(sys::read_up_to(kernel, info.get(), to));
    return text_of_bytes(to.first(size));
  }
  result<std::string_view> read_info(i32 fd) {
    return read_info(fd, std::as_writable_bytes(std::span(text_)));
  }
  /// The same in what is left to work in, which holds any.
  result<std::string_view> read_long_info(i32 fd) {
    const auto text = CKPT_TRY(read_info(fd, table_.left()));
    if (text.size() == table_.left().size()) return errc::no_memory;
    return text;
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
    e.locked = text->find("\nlock:") != std::string_view::npos;
    sys::abi::stat st{};
    if (auto r = sys::newfstatat(sys::abi::at_fdcwd, path_of("/fd/", e.fd), st, 0); !r.ok())
      return why.explain(r.error(), "cannot look at descriptor ", e.fd);
    e.st_dev = st.st_dev, e.st_ino = st.st_ino, e.st_rdev = st.st_rdev;
    e.st_nlink = st.st_nlink, e.st_mode = st.st_mode, e.st_size = st.st_size;
    e.modified_ns = static_cast<i64>(st.st_mtime_sec * 1'000'000'000 + st.st_mtime_nsec);
    return {};
  }

  [[nodiscard]] static bool is_stdio(const entry& e) { return e.fd <= 2; }

  /// A terminal, pipe or socket whose other end is not ours: one of 0–2, or the same file again.
  bool from_outside(entry& e) {
    for (const entry& other : table_.all()) {
      if (!is_stdio(other)) break;
      if (!same_file(e, other) || (other.info.flags & 3u) != (e.info.flags & 3u)) continue;
      e.stdio = static_cast<u32>(other.fd);
      return true;
    }
    return false;
  }
  static constexpr u32 reads = 1u << sys::abi::o_rdonly, writes = 1u << sys::abi::o_wronly;
  /// Both ends of a pipe in one process: it carries bytes that nobody outside can bring back.
  bool is_internal_pipe(const entry& e) {
    const u32 access = table_.file_of(e).access;
    return (access & ~reads) != 0 && (access & ~writes) != 0;
  }
  /// One end alone, and the kernel says that there is no other anywhere.
  bool is_left_of_pipe(const entry& e) {
    const sys::unique_fd fd(borrow(e.fd).value_or(-1));
    if (!fd) return false;
    sys::abi::pollfd p{fd.get(), 0, 0};
    const i16 alone = table_.file_of(e).access == reads ? sys::abi::poll_hup : sys::abi::poll_err;
    return sys::poll(&p, 1, 0).ok() && (p.revents & alone) != 0;
  }

  /// The program's open file as a descriptor of ours. Where the kernel does not hand it out, our
  /// copy of the program's table has it, unless the program has put another there since.
  // Context: helper, all threads frozen
  result<int> borrow(i32 fd) {
    if (!program_) program_ = sys::unique_fd(sys::pidfd_open(pid_, 0).value_or(-1));
    if (program_)
      if (const auto got = sys::pidfd_getfd(program_.get(), fd); got.ok()) return got;
    const auto same = sys::kcmp(tid_, sys::getpid(), sys::abi::kcmp_file, static_cast<u64>(fd),
                                static_cast<u64>(fd));
    if (same.value_or(1) != 0) return errc::access;
    const auto copy = sys::fcntl(fd, sys::abi::f_dupfd_cloexec, 0);
    if (!copy.ok()) return copy.error();
    return static_cast<int>(*copy);
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
    return sys::fstat(e.fd, own).ok() && own.st_dev == e.st_dev && own.st_ino == e.st_ino &&
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
    if (const file_kind object = kind_of_object(link); object != file_kind{}) {
      e.kind = object;
      return {};
    }
    switch (e.st_mode & s_ifmt) {
      case s_ifreg:
        if (link.starts_with("/memfd:") && e.st_nlink == 0 && is_huge(e))
          return refuse(e, why, "a memory file made of hugetlb pages", close_it);
        if (link.starts_with("/secretmem")) return refuse(e, why, "secret memory", close_it);
        if (is_message_queue(e)) return refuse(e, why, "a message queue (mq_open)", close_it);
        // A namespace (net:[4026531840]) looks like a file and has no path.
        if (!link.starts_with('/')) return refuse(e, why, "a kernel object", close_it);
        if (link.starts_with("/proc/") || link.starts_with("/sys/"))
          e.kind = file_kind::kernel_file;
        else if (e.st_nlink == 0)
          e.kind = file_kind::deleted;
        else
          e.kind = file_kind::regular;
        return {};
      case s_ifdir:
        if (e.st_nlink == 0) return refuse(e, why, "a deleted directory", close_it);
        e.kind = link.starts_with("/proc/") || link.starts_with("/sys/") ? file_kind::kernel_file
                                                                         : file_kind::directory;
        return {};
      case s_ifchr:
        if (is_memory_device(e.st_rdev)) {
          e.kind = file_kind::device;
          return {};
        }
        if (!is_terminal(e)) return refuse(e, why, "a device", close_it);
        e.kind = file_kind::outside;
        if (!from_outside(e) && !any_stdio_terminal(e))
          return refuse(e, why, "a terminal that is not its standard input or output", close_it);
        return {};
      case s_ififo:
        e.kind =
            link.starts_with("pipe:") && is_internal_pipe(e) ? file_kind::pipe : file_kind::outside;
        if (e.kind == file_kind::pipe) return {};
        if (!link.starts_with("pipe:")) return refuse(e, why, "a named pipe", close_it);
        if (from_outside(e)) return {};
        if (!is_left_of_pipe(e))
          return refuse(e, why, "a pipe whose other end another process has", close_it);
        e.kind = file_kind::pipe;
        return {};
      case s_ifsock:
        return classify_socket(e, why);
      default:
        return refuse(e, why, "of a kind that cannot be saved", close_it);
    }
  }

  /// A terminal that 0, 1 or 2 has with another access mode.
  bool any_stdio_terminal(entry& e) {
    for (const entry& other : table_.all()) {
      if (!is_stdio(other)) break;
      if (!same_file(other, e)) continue;
      e.stdio = static_cast<u32>(other.fd);
      return true;
    }
    return false;
  }

  static file_kind kind_of_object(std::string_view link) {
    if (link == "anon_inode:[eventfd]") return file_kind::eventfd;
    if (link == "anon_inode:[timerfd]") return file_kind::timerfd;
    if (link == "anon_inode:[signalfd]") return file_kind::signalfd;
    if (link == "anon_inode:[eventpoll]") return file_kind::epoll;
    return {};
  }

  /// Every socket that sock_diag(7) tells of and the program has, in order of its number.
  result<void> list_sockets() {
    if (sockets_listed_) return {};
    sockets_listed_ = true;
    u64 wanted = 0;
    for (const entry& e : table_.all())
      if ((e.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifsock) ++wanted;
    const auto room = table_.take_left(wanted * sizeof(unix_socket));
    if (room.empty()) return errc::no_memory;
    sockets_ = {reinterpret_cast<unix_socket*>(room.data()), 0};
    u64 count = 0;
    CKPT_TRY(for_each_unix_socket(table_.left(), [&](const unix_socket& s) {
      if (count < wanted && table_.find_file(device_of_sockets_, s.inode) != nullptr)
        sockets_.data()[count++] = s;
    }));
    sockets_ = {sockets_.data(), count};
    merge_sort(sockets_, std::span(reinterpret_cast<unix_socket*>(table_.left().data()), count),
               [](const unix_socket& a, const unix_socket& b) { return a.inode < b.inode; });
    return {};
  }
  const unix_socket* find_socket(u64 inode) const {
    const u64 i = first_not(sockets_, [&](const unix_socket& s) { return s.inode < inode; });
    return i < sockets_.size() && sockets_[i].inode == inode ? &sockets_[i] : nullptr;
  }

  /// One of a pair that is all the program's, or what is left of one.
  result<void> classify_socket(entry& e, report& why) {
    constexpr std::string_view close_it =
        "close it before the checkpoint, or wait until the program has";
    device_of_sockets_ = e.st_dev;
    const auto listed = list_sockets();
    const unix_socket* s = find_socket(e.st_ino);
    const bool paired = s != nullptr && s->connected && !s->listens;
    const entry* peer = paired && s->peer != 0 ? table_.find_file(e.st_dev, s->peer) : nullptr;
    const unix_socket* other = peer != nullptr ? find_socket(s->peer) : nullptr;
    const bool mutual = other != nullptr && other->peer == s->inode && !other->named;
    e.kind = file_kind::socket;
    if (paired && !s->named && mutual) return {};
    e.kind = file_kind::outside;
    if (from_outside(e)) return {};
    e.kind = file_kind::socket;
    if (paired && !s->named && s->peer == 0) return {};
    const sys::unique_fd fd(borrow(e.fd).value_or(-1));
    i32 family = -1;
    (void)sys::getsockopt(fd.get(), sys::abi::so_domain, family);
    if (family != sys::abi::af_unix) return refuse(e, why, "a socket", close_it);
    if (!listed.ok())
      return refuse(e, why, "a socket whose peer the kernel does not tell (sock_diag)", close_it);
    if (s == nullptr) return refuse(e, why, "a socket of another network namespace", close_it);
    if (s->listens || (s->named && !s->connected))
      return refuse(e, why, "a socket that others connect to", close_it);
    if (!paired) return refuse(e, why, "a socket that is not connected", close_it);
    if (s->named || peer != nullptr) return refuse(e, why, "a socket with a name", close_it);
    return refuse(e, why, "a socket connected to another process", close_it);
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
    f.mode = e.st_mode;
    f.offset = e.info.position;
    f.size = static_cast<u64>(e.st_size);
    f.modified_ns = e.modified_ns;
    f.device = e.st_dev;
    f.inode = e.st_ino;
    f.stdio = e.stdio;
    std::string_view path = *link;
    if (e.kind == file_kind::regular) {
      sys::abi::stat named{};
      const auto found = sys::newfstatat(sys::abi::at_fdcwd, link_, named, 0);
      constexpr auto no_directory = static_cast<errc>(20);  // ENOTDIR
      if (!found.ok() && found.error() != errc::no_entry && found.error() != errc::access &&
          found.error() != no_directory)
        return why.explain(found.error(), "cannot look at the file of descriptor ", e.fd);
      if (!found.ok() || named.st_ino != e.st_ino || named.st_dev != e.st_dev) {
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
    if (e.kind == file_kind::pipe && &table_.file_of(e) == &e) return save_pipe(e, out, why);
    return {};
  }

  /// What is in no open_file of its kind. Every open file has its number by now.
  result<void> describe_object(const entry& e, format::metadata_builder& out, report& why) {
    const auto outcome = [&]() -> result<void> {
      const sys::unique_fd fd(CKPT_TRY(borrow(e.fd)));
      switch (e.kind) {
        case file_kind::eventfd: {
          auto counter = CKPT_TRY(capture_eventfd(fd.get(), CKPT_TRY(read_info(e.fd))));
          counter.open_file = e.id;
          return out.add(counter);
        }
        case file_kind::timerfd: {
          auto timer = CKPT_TRY(capture_timerfd(fd.get(), [&] { return read_info(e.fd); }));
          timer.open_file = e.id;
          return out.add(timer);
        }
        case file_kind::signalfd: {
          signal_file s{};
          s.open_file = e.id;
          s.mask = CKPT_TRY(proc::parse_signalfd(CKPT_TRY(read_info(e.fd))));
          return out.add(s);
        }
        case file_kind::epoll:
          return describe_epoll(e, fd.get(), out, why);
        default:
          break;
      }
      const unix_socket* s = find_socket(e.st_ino);
      const entry* peer = s->peer != 0 ? table_.find_file(e.st_dev, s->peer) : nullptr;
      report reason;
      const sys::unique_fd other(peer != nullptr ? CKPT_TRY(borrow(peer->fd)) : -1);
      const auto captured = capture_socket(fd.get(), other.get(), *s, e.id,
                                           peer != nullptr ? table_.at(peer->first).id : no_peer,
                                           table_.left(), out, reason);
      if (!captured.ok() && captured.error() == errc::refused)
        return why.refuse("the socket on descriptor ", e.fd, " cannot be saved: ", reason.line());
      return captured;
    }();
    if (!outcome.ok()) return why.explain(outcome.error(), "cannot look into descriptor ", e.fd);
    return {};
  }

  /// `fd` is ours and refers to the same epoll.
  result<void> describe_epoll(const entry& e, int fd, format::metadata_builder& out, report& why) {
    // The file's own list, sorted by number: entries of one number keep their order, by which
    // kcmp(2) tells them apart.
    const auto text = CKPT_TRY(read_long_info(e.fd));
    mutable_bytes room = table_.left().subspan(align_up(text.size(), 16));
    epoll record{};
    record.open_file = e.id;
    u64 count = 0;
    auto* targets = reinterpret_cast<proc::epoll_target*>(room.data());
    const u64 capacity = room.size() / 2 / sizeof(proc::epoll_target);
    CKPT_TRY(proc::for_each_epoll_target(text, [&](const proc::epoll_target& t) -> result<void> {
      if (count == capacity) return errc::no_memory;
      targets[count++] = t;
      return {};
    }));
    merge_sort(std::span(targets, count), std::span(targets + count, count),
               [](const auto& a, const auto& b) { return a.descriptor < b.descriptor; });
    record.count = count;
    CKPT_TRY(out.begin(record));
    u32 nth = 0;
    for (u64 i = 0; i < count; ++i) {
      const auto& t = targets[i];
      nth = i > 0 && targets[i - 1].descriptor == t.descriptor ? nth + 1 : 0;
      const bool alone = nth == 0 && (i + 1 == count || targets[i + 1].descriptor != t.descriptor);
      if (alone && is_still_registered(fd, t)) {
        CKPT_TRY(add_entry(t, *table_.find(t.descriptor), out));
        continue;
      }
      const auto found = find_target(e.fd, t, nth);
      if (!found.ok())
        return why.explain(found.error(), "cannot compare what the epoll on descriptor ", e.fd,
                           " watches (kcmp(2) is not permitted or not in this kernel)");
      if (*found == nullptr)
        return why.refuse("the epoll on descriptor ", e.fd, " watches a file, registered as ",
                          t.descriptor,
                          ", that the program has closed and another process still "
                          "has; remove it (EPOLL_CTL_DEL) before it is closed");
      CKPT_TRY(add_entry(t, **found, out));
    }
    return out.end();
  }
  result<void> add_entry(const proc::epoll_target& t, const entry& watched,
                         format::metadata_builder& out) {
    epoll_entry e{};
    e.descriptor = t.descriptor;
    e.open_file = table_.at(watched.first).id;
    e.events = t.events;
    e.data = t.data;
    return out.append(bytes_of(e));
  }
  /// True when the number still is the file that it was registered for, as it nearly always is:
  /// then the kernel refuses to register it again, and finds that out by one look into a tree. Our
  /// copy of the program's table has the file at this number; what the kernel does accept is taken
  /// back.
  bool is_still_registered(int epoll_fd, const proc::epoll_target& t) {
    const entry* e = table_.find(t.descriptor);
    if (e == nullptr || e->st_dev != t.device || e->st_ino != t.inode) return false;
    const auto same = sys::kcmp(tid_, sys::getpid(), sys::abi::kcmp_file,
                                static_cast<u64>(t.descriptor), static_cast<u64>(t.descriptor));
    if (same.value_or(1) != 0) return false;
    const auto added = sys::epoll_ctl(epoll_fd, sys::abi::epoll_ctl_add, t.descriptor, {0, 0});
    if (added.ok()) (void)sys::epoll_ctl(epoll_fd, sys::abi::epoll_ctl_del, t.descriptor, {0, 0});
    return !added.ok() && added.error() == errc::exists;
  }
  /// The open file that an entry watches, for which the kernel walks through the whole epoll.
  result<const entry*> find_target(i32 epoll_fd, const proc::epoll_target& t, u32 nth) {
    const entry* at_number = table_.find(t.descriptor);
    const auto compare = [&](i32 fd) {
      const sys::abi::kcmp_epoll_slot slot{static_cast<u32>(epoll_fd),
                                           static_cast<u32>(t.descriptor), nth};
      return sys::kcmp(tid_, tid_, sys::abi::kcmp_epoll_tfd, static_cast<u64>(fd),
                       reinterpret_cast<u64>(&slot));
    };
    if (at_number != nullptr && CKPT_TRY(compare(t.descriptor)) == 0) return at_number;
    return table_.find_open_file(t.device, t.inode, compare);
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
  result<void> take_content(const entry& e, open_file& f, report& why) {
    if (const sys::unique_fd readable(reopen(e.fd).value_or(-1)); !readable)
      return refuse(e, why, "a deleted file that cannot be read", "give it a name or close it");
    for (u32 i = 0; i < unnamed_count_; ++i)
      if (unnamed_[i].st.st_dev == e.st_dev && unnamed_[i].st.st_ino == e.st_ino) {
        f.content = u64{i} + 1;
        return {};
      }
    if (unnamed_count_ == max_unnamed)
      return why.refuse("more than ", max_unnamed, " deleted and memory files are open");
    unnamed_content& content = unnamed_[unnamed_count_++];
    content.descriptor = e.fd;
    CKPT_TRY(sys::newfstatat(sys::abi::at_fdcwd, path_of("/fd/", e.fd), content.st, 0));
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
    const bool of_thread = below(path, task_);
    path.remove_prefix(of_thread ? task_.size() : proc_.size());
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
    const auto text = read_long_info(e.fd);
    if (!text.ok()) return why.explain(text.error(), "cannot look at descriptor ", e.fd);
    const bool first_of_file = &table_.file_of(e) == &e;
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
  std::string_view task_;
  int pid_;
  int tid_;
  open_files table_;
  sys::unique_fd program_;
  std::span<unix_socket> sockets_;
  bool sockets_listed_ = false;
  u64 device_of_sockets_ = 0;
  u32 next_id_ = 0;
  unnamed_content unnamed_[max_unnamed] = {};
  u32 unnamed_count_ = 0;
  fixed_text<96> path_;
  fixed_text<4200> self_path_;
  char link_[4200];
  char text_[8192];
};

}  // namespace ckpt::state
