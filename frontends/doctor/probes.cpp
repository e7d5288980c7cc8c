// SPDX-License-Identifier: MIT
#include "probes.hpp"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "ckpt/base/range.hpp"
#include "ckpt/state/caller.hpp"
#include "ckpt/state/files/sockets.hpp"
#include "proc_view.hpp"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

namespace ckpt::doctor::probe {
namespace {

/// What `what()` returns, an errno, in a child that ends with it.
template <class What>
errc in_child(What&& what) {
  const pid_t child = fork();
  if (child < 0) return static_cast<errc>(errno);
  if (child == 0) {
    _exit(what() & 0xff);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status)) return errc::gone;
  return static_cast<errc>(WEXITSTATUS(status));
}

bool write_file(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool done = write(fd, text, std::strlen(text)) == static_cast<ssize_t>(std::strlen(text));
  close(fd);
  return done;
}

/// 0, or why not.
int enter_user_namespace() {
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER) != 0) return errno;
  char line[64];
  if (!write_file("/proc/self/setgroups", "deny") && errno != ENOENT) return errno;
  std::snprintf(line, sizeof line, "%u %u 1\n", uid, uid);
  if (!write_file("/proc/self/uid_map", line)) return errno;
  std::snprintf(line, sizeof line, "%u %u 1\n", gid, gid);
  if (!write_file("/proc/self/gid_map", line)) return errno;
  return 0;
}

bool is_admin() { return state::caller::now().can(sys::abi::cap_sys_admin); }

int enter_if_needed() { return is_admin() ? 0 : enter_user_namespace(); }

/// A child with that number, which ends at once.
int make_with_number(int number) {
  pid_t wanted = number;
  sys::abi::clone_args a{};
  a.exit_signal = SIGCHLD;
  a.set_tid = reinterpret_cast<u64>(&wanted);
  a.set_tid_size = 1;
  const long made = syscall(SYS_clone3, &a, sizeof a);
  if (made == 0) _exit(0);
  if (made < 0) return errno;
  (void)waitpid(static_cast<pid_t>(made), nullptr, __WALL);
  return 0;
}

}  // namespace

errc ptrace() {
  const pid_t child = fork();
  if (child < 0) return static_cast<errc>(errno);
  if (child == 0)
    for (;;) pause();
  errc outcome = errc::none;
  if (::ptrace(PTRACE_SEIZE, child, 0, 0) != 0) outcome = static_cast<errc>(errno);
  (void)kill(child, SIGKILL);
  (void)waitpid(child, nullptr, __WALL);
  return outcome;
}

errc set_tid() {
  const u64 highest = number_in("/proc/sys/kernel/pid_max", 32768);
  int free = static_cast<int>(highest) - 1;
  while (free > 300 && (::kill(free, 0) == 0 || errno != ESRCH)) --free;
  return in_child([&] { return make_with_number(free); });
}

errc user_namespace() { return in_child(enter_user_namespace); }

errc pid_namespace() {
  return in_child([] {
    if (const int e = enter_if_needed(); e != 0) return e;
    return unshare(CLONE_NEWPID) == 0 ? 0 : errno;
  });
}

errc time_namespace() {
  return in_child([] {
    if (const int e = enter_if_needed(); e != 0) return e;
    return unshare(CLONE_NEWTIME) == 0 ? 0 : errno;
  });
}

errc set_tid_in_namespace() {
  return in_child([] {
    if (const int e = enter_if_needed(); e != 0) return e;
    if (unshare(CLONE_NEWPID) != 0) return errno;
    // The first there has number 1; it makes the second.
    const pid_t first = fork();
    if (first < 0) return errno;
    if (first == 0) _exit(make_with_number(4711));
    int status = 0;
    (void)waitpid(first, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
  });
}

errc process_vm_readv() {
  char from = 'x', to = 0;
  iovec local{&to, 1}, remote{&from, 1};
  return ::process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1 ? errc::none
                                                                     : static_cast<errc>(errno);
}

errc kcmp() { return sys::kcmp(getpid(), getpid(), sys::abi::kcmp_vm, 0, 0).error(); }

errc socket_list() {
  std::vector<std::byte> room(65536);
  return state::for_each_unix_socket(room, [](const state::unix_socket&) {}).error();
}

errc pagemap_scan() {
  const sys::unique_fd fd(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  sys::abi::page_region region{};
  sys::abi::pm_scan_arg arg{};
  arg.size = sizeof arg;
  arg.start = page_down(reinterpret_cast<u64>(&region));
  arg.end = arg.start + page_size;
  arg.vec = reinterpret_cast<u64>(&region);
  arg.vec_len = 1;
  arg.category_anyof_mask = arg.return_mask = sys::abi::page_is_present;
  return ioctl(fd.get(), sys::abi::pagemap_scan_ioctl, &arg) >= 0 ? errc::none
                                                                  : static_cast<errc>(errno);
}

errc write_tracking() {
  constexpr int user_mode_only = 1;
  constexpr u64 wp_unpopulated = u64{1} << 13, wp_async = u64{1} << 15;
  const sys::unique_fd fd(static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | user_mode_only)));
  if (!fd) return static_cast<errc>(errno);
  struct {
    u64 api, features, ioctls;
  } api{0xaa, wp_unpopulated | wp_async, 0};
  constexpr unsigned long uffdio_api = 0xc018aa3f;
  return ioctl(fd.get(), uffdio_api, &api) == 0 ? errc::none : static_cast<errc>(errno);
}

errc move_vdso() {
  const u64 at = getauxval(AT_SYSINFO_EHDR);
  if (at == 0) return errc::not_found;
  return in_child([at] {
    // Nothing after it asks the clock.
    void* to = mmap(nullptr, page_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    const auto moved = mremap(reinterpret_cast<void*>(at), page_size, page_size,
                              MREMAP_MAYMOVE | MREMAP_FIXED, to);
    // Some kernels move it only whole.
    return moved != MAP_FAILED || errno == EINVAL ? 0 : errno;
  });
}

}  // namespace ckpt::doctor::probe
