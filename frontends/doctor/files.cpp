// SPDX-License-Identifier: MIT
//
// The descriptors of a process, by the very rules of a checkpoint (include/ckpt/state/files); what the
// helper asks its copies of the open files is asked of /proc here.
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <set>
#include <thread>
#include <utility>

#include "ckpt/state/files/classifier.hpp"
#include "ckpt/state/files/epoll_targets.hpp"
#include "looks.hpp"

namespace ckpt::doctor {
namespace {

/// The device numbers of terminals. A device is not opened: some do something then.
class terminals {
 public:
  terminals() {
    const std::string text = text_of("/proc/tty/drivers");
    for (std::size_t from = 0; from < text.size();) {
      const std::string line = text.substr(from, text.find('\n', from) - from);
      from += line.size() + 1;
      unsigned major = 0, first = 0, last = 0;
      char minors[64] = {};
      if (std::sscanf(line.c_str(), "%*s %*s %u %63s", &major, minors) != 2) continue;
      if (std::sscanf(minors, "%u-%u", &first, &last) < 2) last = first;
      known_.push_back({major, first, last});
    }
  }
  [[nodiscard]] bool has(u64 device) const {
    for (const auto& k : known_)
      if (major(device) == k.major && minor(device) >= k.first && minor(device) <= k.last) return true;
    return false;
  }

 private:
  struct driver {
    unsigned major, first, last;
  };
  std::vector<driver> known_;
};

/// In the place of state::own_copies.
class from_outside {
 public:
  using entry = state::seen_descriptor;

  from_outside(const proc_view& p, state::program_files& files, bool& network_unseen)
      : p_(p), files_(files), network_unseen_(network_unseen) {}

  [[nodiscard]] bool is_terminal(const entry& e) const { return terminals_.has(e.st_rdev); }

  [[nodiscard]] i64 file_system(const entry& e) const {
    struct statfs of {};
    return statfs(files_.path_of("/fd/", e.fd), &of) == 0 ? static_cast<i64>(of.f_type) : 0;
  }

  /// The same end once more: whoever has the other sees no difference.
  [[nodiscard]] bool is_alone(const entry& e, bool reads) const {
    const sys::unique_fd fd(open(files_.path_of("/fd/", e.fd),
                                 (reads ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC | O_NOCTTY));
    if (!fd) return false;
    pollfd p{fd.get(), 0, 0};
    return poll(&p, 1, 0) >= 0 && (p.revents & (reads ? POLLHUP : POLLERR)) != 0;
  }

  [[nodiscard]] bool is_unix_socket(const entry& e) const {
    char name[64] = {};
    const ssize_t size =
        getxattr(files_.path_of("/fd/", e.fd), "system.sockprotoname", name, sizeof name - 1);
    return size > 0 && std::strncmp(name, "UNIX", 4) == 0;
  }

  /// Those of the process's network namespace, where this may enter it.
  template <class Visitor>
  result<void> each_unix_socket(mutable_bytes room, Visitor&& visit) const {
    result<void> outcome = errc::not_found;
    if (p_.same_namespace("net")) {
      outcome = state::for_each_unix_socket(room, visit);
    } else {
      std::thread there([&] {
        const sys::unique_fd ns(open(p_.path("ns/net").c_str(), O_RDONLY | O_CLOEXEC));
        if (ns && setns(ns.get(), CLONE_NEWNET) == 0) outcome = state::for_each_unix_socket(room, visit);
      });
      there.join();
    }
    network_unseen_ = !outcome.ok();
    return outcome;
  }

  result<void> stat_named(const char* path, sys::abi::stat& st) const {
    const rights_of program(p_.uid, p_.gid);
    return sys::newfstatat(sys::abi::at_fdcwd, p_.seen(path).c_str(), st, 0);
  }

 private:
  const proc_view& p_;
  state::program_files& files_;
  bool& network_unseen_;
  terminals terminals_;
};

class descriptors {
 public:
  descriptors(const proc_view& p, pid_t tid, mutable_bytes scratch, const wishes& w, examination& e)
      : p_(p), files_(task_of(tid), p.pid(), tid, scratch), e_(e) {
    wishes_.ignored = w.ignored;
  }

  /// errc::again when a descriptor went while it was looked at.
  result<void> look(process_facts& known) {
    report why;
    const auto gone = [&](state::seen_descriptor& d, errc) {
      if (!link_of(files_.path_of("/fd/", d.fd)).empty()) return false;
      d.ignored = true;
      d.st_dev = ~u64{0}, d.st_ino = static_cast<u64>(d.fd);
      return true;
    };
    if (const auto found = files_.find(wishes_, why, gone); !found.ok()) {
      why_ = why.line();
      return found;
    }
    for (auto& d : files_.table().all()) {
      if (d.st_dev == ~u64{0}) continue;
      ++known.descriptors;
      known.files.push_back({d.st_dev, d.st_ino, d.fd});
      if (d.ignored)
        e_.lose("descriptor", line_of("descriptor ", d.fd, " (--ignore-fd)"));
      if (files_.table().is_first(d) && !d.ignored) look_at(d);
    }
    for (auto& d : files_.table().all())
      if (d.st_dev != ~u64{0} && files_.table().is_first(d) && !d.ignored &&
          d.kind == state::file_kind::epoll && !refused_.contains(d.fd))
        look_at_epoll(d);
    return {};
  }
  [[nodiscard]] const std::string& why() const { return why_; }

 private:
  using entry = state::seen_descriptor;

  std::string_view task_of(pid_t tid) {
    task_ = p_.path("task/" + std::to_string(tid));
    return task_;
  }

  void look_at(entry& d) {
    report why;
    const auto link = files_.link_of(d.fd);
    if (!link.ok()) return;  // closed meanwhile
    const std::string path(*link);
    const auto decided = kinds_.decide(d, *link, why);
    if (!decided.ok()) {
      const bool is_socket = (d.st_mode & sys::abi::s_ifmt) == sys::abi::s_ifsock;
      if (!is_still(d)) return;
      if (is_socket && network_unseen_) {
        e_.miss("descriptor", line_of("descriptor ", d.fd, ", a socket of another network namespace"),
                "the same as root");
        return;
      }
      if (wishes_.forgives(is_socket)) {
        d.ignored = true;
        e_.lose("descriptor", line_of("descriptor ", d.fd, " (", quoted{path}, "), --ignore-fd"));
        return;
      }
      refuse(d, why);
      return;
    }
    if (d.kind == state::file_kind::deleted && !look_at_content(d, why)) return;
    if (d.locked) look_at_locks(d);
    if (d.kind == state::file_kind::socket) look_at_socket(d);
    if (d.kind == state::file_kind::outside)
      e_.lose("outside", line_of("descriptor ", d.fd, " (", quoted{path},
                                 ") is that of whoever restarts"));
  }

  /// One that has been closed and opened again meanwhile is not what was judged.
  bool is_still(const entry& d) {
    sys::abi::stat st{};
    return files_.stat_of(d.fd, st).ok() && st.st_dev == d.st_dev && st.st_ino == d.st_ino;
  }

  void refuse(const entry& d, const report& why) {
    refused_.insert(d.fd);
    e_.stop("descriptor", why.line(),
            line_of("close it, or --ignore-fd ", d.fd, " leaves it behind; ckpt_fds does from within"));
  }

  /// What the image would have of it. False when a checkpoint could not read it.
  bool look_at_content(const entry& d, report& why) {
    bool readable = false;
    {
      const rights_of program(p_.uid, p_.gid);
      readable = faccessat(AT_FDCWD, files_.path_of("/fd/", d.fd), R_OK, AT_EACCESS) == 0;
    }
    if (!readable && is_still(d)) {
      (void)state::refuse_unreadable(files_, d, why);
      refuse(d, why);
      return false;
    }
    if (!contents_.insert({d.st_dev, d.st_ino}).second) return true;
    if (contents_.size() == state::most_unnamed + 1) {
      (void)state::refuse_more_unnamed(why);
      e_.stop("descriptor", why.line(), "close some");
    }
    struct stat st {};
    if (stat(files_.path_of("/fd/", d.fd), &st) == 0)
      content_bytes_ += static_cast<u64>(st.st_blocks) * 512;
    return true;
  }

  void look_at_locks(const entry& d) {
    report why;
    const auto text = files_.read_long_info(d.fd);
    if (!text.ok()) return;
    (void)proc::for_each_lock(*text, [&](const proc::file_lock& l) -> result<void> {
      if (l.kind != proc::lock_kind::lease) return {};
      (void)state::refuse_lease(d, why);
      e_.stop("descriptor", why.line(), "fcntl(F_SETLEASE, F_UNLCK)");
      return errc::refused;
    });
  }

  /// The messages in it only a checkpoint can look at; the kernel tells of descriptors among them.
  void look_at_socket(const entry& d) {
    if (!std::exchange(has_sockets_, true))
      e_.miss("descriptor", "what waits in sockets between descriptors of its own: an urgent byte, or an "
                            "empty message that has been looked at before, stops a checkpoint",
              "let the program receive it");
    const auto info = files_.read_info(d.fd);
    if (!info.ok()) return;
    const auto carried = proc::number_of<u32>(*info, "scm_fds");
    if (carried.value_or(0) == 0) return;
    report why, reason;
    (void)state::refuse_carried(reason);
    (void)state::refuse_socket(why, d.fd, reason);
    e_.stop("descriptor", why.line(), "let the program receive them");
    refused_.insert(d.fd);
  }

  void look_at_epoll(const entry& d) {
    report why;
    const auto text = files_.read_long_info(d.fd);
    if (!text.ok()) return;
    const mutable_bytes room = files_.table().left().subspan(align_up(text->size(), 16));
    (void)state::each_epoll_target(
        *text, room, [&](const proc::epoll_target& t, u32 nth, bool) -> result<void> {
          if (state::find_epoll_target(files_, d.fd, t, nth, why).ok() || !watches(d.fd, t)) return {};
          e_.stop("descriptor", why.line(), "EPOLL_CTL_DEL");
          return errc::refused;
        });
  }
  /// Still: what goes in this moment is no error.
  bool watches(int epoll, const proc::epoll_target& wanted) {
    std::string text = text_of(files_.path_of("/fdinfo/", epoll));
    return proc::for_each_epoll_target(text, [&](const proc::epoll_target& t) -> result<void> {
             return t.descriptor == wanted.descriptor && t.inode == wanted.inode &&
                            files_.table().find(t.descriptor) == nullptr
                        ? result<void>(errc::exists)
                        : result<void>();
           }).error() == errc::exists;
  }

 public:
  [[nodiscard]] u64 content_bytes() const { return content_bytes_; }

 private:
  const proc_view& p_;
  std::string task_;
  state::program_files files_;
  examination& e_;
  state::descriptor_wishes wishes_;
  bool network_unseen_ = false;
  state::file_classifier<from_outside> kinds_{files_, from_outside(p_, files_, network_unseen_)};
  std::set<std::pair<u64, u64>> contents_;
  std::set<int> refused_;
  bool has_sockets_ = false;
  u64 content_bytes_ = 0;
  std::string why_;
};

}  // namespace

void look_at_files(const proc_view& p, const wishes& w, process_facts& known, examination& e) {
  if (known.threads.empty()) return;
  constexpr u64 size = u64{256} << 20;
  void* room = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return e.miss("descriptor", "its descriptors: no memory to look at them");
  const mutable_bytes scratch(static_cast<std::byte*>(room), size);
  constexpr int most_tries = 100;
  for (int tries = 1;; ++tries) {
    examination found;
    process_facts seen;
    descriptors d(p, known.threads.front(), scratch, w, found);
    const auto looked = d.look(seen);
    if (!looked.ok() && tries < most_tries) continue;  // comparing met one that has gone
    if (!looked.ok()) {
      e.miss("descriptor", d.why(), "try again");
    } else {
      known.descriptors = seen.descriptors;
      known.files = std::move(seen.files);
      known.image_bytes += d.content_bytes();
      const auto append = [](auto& to, auto& from) { to.insert(to.end(), from.begin(), from.end()); };
      append(e.stops, found.stops);
      append(e.losses, found.losses);
      append(e.unseen, found.unseen);
    }
    break;
  }
  munmap(room, size);
  e.tell("descriptors", u64{known.descriptors}, count_of(known.descriptors, "descriptor"));
}

}  // namespace ckpt::doctor
