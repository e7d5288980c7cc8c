// SPDX-License-Identifier: MIT
//
// What each open file of the program is, and so how it comes back; or why it cannot. What /proc does
// not tell, Look answers: the helper by its copies of the open files, others as they can.
#pragma once

#include "ckpt/maps/name.hpp"
#include "ckpt/state/files/own_copies.hpp"
#include "ckpt/state/files/program_files.hpp"
#include "ckpt/state/files/sockets.hpp"

namespace ckpt::state {

/// Files without a name whose contents an image can hold.
inline constexpr u32 most_unnamed = 64;

// What else stops a checkpoint, said in the same words by whoever finds it.
inline errc refuse_more_unnamed(report& why) {
  return why.refuse("more than ", most_unnamed, " deleted and memory files are open");
}
inline errc refuse_unreadable(program_files& files, const seen_descriptor& e, report& why) {
  return files.refuse(e, why, "a deleted file that cannot be read", "give it a name or close it");
}
/// For what waits in it.
inline errc refuse_socket(report& why, i32 fd, const report& reason) {
  return why.refuse("the socket on descriptor ", fd, " cannot be saved: ", reason.line());
}
inline errc refuse_lease(const seen_descriptor& e, report& why) {
  return why.refuse("descriptor ", e.fd, " holds a lease; release it before the checkpoint");
}

template <class Look>
class file_classifier {
 public:
  using entry = seen_descriptor;

  file_classifier(program_files& files, Look look) : files_(files), look_(look) {}

  /// Sets e.kind, e.stdio of what comes from outside, and whether a path still leads to it. `link` is
  /// what link_of() has given.
  // Context: helper, all threads frozen
  result<void> decide(entry& e, std::string_view link, report& why) {
    CKPT_TRY(classify(e, link, why));
    if (e.kind != file_kind::regular) return {};
    sys::abi::stat named{};
    const auto found = look_.stat_named(link.data(), named);
    constexpr auto no_directory = static_cast<errc>(20);  // ENOTDIR
    if (!found.ok() && found.error() != errc::no_entry && found.error() != errc::access &&
        found.error() != no_directory)
      return why.explain(found.error(), "cannot look at the file of descriptor ", e.fd);
    if (found.ok() && named.st_ino == e.st_ino && named.st_dev == e.st_dev) return {};
    // It still has a name, but not this one: unlinked beside a hard link, hidden by a mount,
    // below a directory closed to this user. A copy is as good for who only reads.
    if ((e.info.flags & u32{sys::abi::o_accmode}) != u32{sys::abi::o_rdonly})
      return files_.refuse(e, why, "a file open for writing that its path no longer leads to",
                           "what it writes after a restart would be lost; make the path lead "
                           "to it");
    e.kind = file_kind::deleted;
    return {};
  }

  /// Sets e.kind, and e.stdio of what comes from outside. `link` is what link_of() has given.
  // Context: helper, all threads frozen
  result<void> classify(entry& e, std::string_view link, report& why) {
    using namespace sys::abi;
    constexpr std::string_view close_it =
        "close it before the checkpoint, or wait until the program has";
    if ((e.info.flags & u32{o_async}) != 0)
      return files_.refuse(e, why, "set to send signals (O_ASYNC)", close_it);
    if (const file_kind object = kind_of_object(link); object != file_kind{}) {
      e.kind = object;
      return {};
    }
    switch (e.st_mode & s_ifmt) {
      case s_ifreg:
        if (link.starts_with("/memfd:") && e.st_nlink == 0 && is_huge(e))
          return files_.refuse(e, why, "a memory file made of hugetlb pages", close_it);
        if (link.starts_with("/secretmem")) return files_.refuse(e, why, "secret memory", close_it);
        if (is_message_queue(e)) return files_.refuse(e, why, "a message queue (mq_open)", close_it);
        // A namespace (net:[4026531840]) looks like a file and has no path.
        if (!link.starts_with('/')) return files_.refuse(e, why, "a kernel object", close_it);
        if (link.starts_with("/proc/") || link.starts_with("/sys/"))
          e.kind = file_kind::kernel_file;
        else if (e.st_nlink == 0)
          e.kind = file_kind::deleted;
        else
          e.kind = file_kind::regular;
        return {};
      case s_ifdir:
        if (e.st_nlink == 0) return files_.refuse(e, why, "a deleted directory", close_it);
        e.kind = link.starts_with("/proc/") || link.starts_with("/sys/") ? file_kind::kernel_file
                                                                         : file_kind::directory;
        return {};
      case s_ifchr:
        if (is_memory_device(e.st_rdev)) {
          e.kind = file_kind::device;
          return {};
        }
        if (!look_.is_terminal(e)) return files_.refuse(e, why, "a device", close_it);
        e.kind = file_kind::outside;
        if (!from_outside(e) && !any_stdio_terminal(e))
          return files_.refuse(e, why, "a terminal that is not its standard input or output", close_it);
        return {};
      case s_ififo:
        e.kind =
            link.starts_with("pipe:") && is_internal_pipe(e) ? file_kind::pipe : file_kind::outside;
        if (e.kind == file_kind::pipe) return {};
        if (!link.starts_with("pipe:")) return files_.refuse(e, why, "a named pipe", close_it);
        if (from_outside(e)) return {};
        if (!is_left_of_pipe(e))
          return files_.refuse(e, why, "a pipe whose other end another process has", close_it);
        e.kind = file_kind::pipe;
        return {};
      case s_ifsock:
        return classify_socket(e, why);
      default:
        return files_.refuse(e, why, "of a kind that cannot be saved", close_it);
    }
  }

  /// What sock_diag(7) tells of a socket that has been classified.
  const unix_socket* find_socket(u64 inode) const {
    const u64 i = first_not(sockets_, [&](const unix_socket& s) { return s.inode < inode; });
    return i < sockets_.size() && sockets_[i].inode == inode ? &sockets_[i] : nullptr;
  }


 private:
  [[nodiscard]] static bool is_stdio(const entry& e) { return e.fd <= 2; }

  /// A terminal, pipe or socket whose other end is not ours: one of 0–2, or the same file again.
  bool from_outside(entry& e) {
    for (const entry& other : files_.table().all()) {
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
    const u32 access = files_.table().file_of(e).access;
    return (access & ~reads) != 0 && (access & ~writes) != 0;
  }
  /// One end alone, and the kernel says that there is no other anywhere.
  bool is_left_of_pipe(const entry& e) {
    return look_.is_alone(e, files_.table().file_of(e).access == reads);
  }

  static bool is_memory_device(u64 device) {
    return device == maps::device_number(1, 3) || device == maps::device_number(1, 5) ||
           device == maps::device_number(1, 7) || device == maps::device_number(1, 8) ||
           device == maps::device_number(1, 9) || device == maps::device_number(5, 0);
  }

  /// A queue of mq_open looks like a file; its name has no directory that could be seen.
  bool is_message_queue(const entry& e) const {
    constexpr i64 mqueue_magic = 0x19800202;
    return look_.file_system(e) == mqueue_magic;
  }

  bool is_huge(const entry& e) const {
    constexpr i64 hugetlbfs_magic = 0x958458f6;
    return look_.file_system(e) == hugetlbfs_magic;
  }

  /// A terminal that 0, 1 or 2 has with another access mode.
  bool any_stdio_terminal(entry& e) {
    for (const entry& other : files_.table().all()) {
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
    for (const entry& e : files_.table().all())
      if ((e.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifsock) ++wanted;
    const auto room = files_.table().take_left(wanted * sizeof(unix_socket));
    if (room.empty()) return errc::no_memory;
    sockets_ = {reinterpret_cast<unix_socket*>(room.data()), 0};
    u64 count = 0;
    CKPT_TRY(look_.each_unix_socket(files_.table().left(), [&](const unix_socket& s) {
      if (count < wanted && files_.table().find_file(device_of_sockets_, s.inode) != nullptr)
        sockets_.data()[count++] = s;
    }));
    sockets_ = {sockets_.data(), count};
    merge_sort(sockets_, std::span(reinterpret_cast<unix_socket*>(files_.table().left().data()), count),
               [](const unix_socket& a, const unix_socket& b) { return a.inode < b.inode; });
    return {};
  }
  /// One of a pair that is all the program's, or what is left of one.
  result<void> classify_socket(entry& e, report& why) {
    constexpr std::string_view close_it =
        "close it before the checkpoint, or wait until the program has";
    device_of_sockets_ = e.st_dev;
    const auto listed = list_sockets();
    const unix_socket* s = find_socket(e.st_ino);
    const bool paired = s != nullptr && s->connected && !s->listens;
    const entry* peer = paired && s->peer != 0 ? files_.table().find_file(e.st_dev, s->peer) : nullptr;
    const unix_socket* other = peer != nullptr ? find_socket(s->peer) : nullptr;
    const bool mutual = other != nullptr && other->peer == s->inode && !other->named;
    e.kind = file_kind::socket;
    if (paired && !s->named && mutual) return {};
    e.kind = file_kind::outside;
    if (from_outside(e)) return {};
    e.kind = file_kind::socket;
    if (paired && !s->named && s->peer == 0) return {};
    if (!look_.is_unix_socket(e)) return files_.refuse(e, why, "a socket", close_it);
    if (!listed.ok())
      return files_.refuse(e, why, "a socket whose peer the kernel does not tell (sock_diag)", close_it);
    if (s == nullptr) return files_.refuse(e, why, "a socket of another network namespace", close_it);
    if (s->listens || (s->named && !s->connected))
      return files_.refuse(e, why, "a socket that others connect to", close_it);
    if (!paired) return files_.refuse(e, why, "a socket that is not connected", close_it);
    if (s->named || peer != nullptr) return files_.refuse(e, why, "a socket with a name", close_it);
    return files_.refuse(e, why, "a socket connected to another process", close_it);
  }

  program_files& files_;
  Look look_;
  std::span<unix_socket> sockets_;
  bool sockets_listed_ = false;
  u64 device_of_sockets_ = 0;
};

}  // namespace ckpt::state
