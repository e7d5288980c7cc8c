// SPDX-License-Identifier: MIT
//
// One function per system call, named as the manual names it. They set no errno, are not
// cancellation points and touch no TLS, so each is usable anywhere, a signal handler included.
// The raw return value is a type of its own: nobody can mistake -ENOENT for a number.
#pragma once

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/sys/abi.hpp"
#if defined(__x86_64__)
#include "ckpt/sys/x86_64/syscall.hpp"
#else
#error "ckpt: no system call layer for this architecture; see docs/PORTING.md"
#endif

namespace ckpt::sys {

enum class [[nodiscard]] raw : long {};

template <class T>
[[nodiscard]] long as_argument(T value) {
  if constexpr (std::is_pointer_v<T>)
    return reinterpret_cast<long>(value);
  else
    return static_cast<long>(value);
}

template <class... Args>
raw invoke(long number, Args... args) {
  return raw{arch::syscall(number, as_argument(args)...)};
}

/// The value, or the errno, of a raw result.
template <class T = long>
[[nodiscard]] result<T> checked(raw r) {
  const long value = static_cast<long>(r);
  if (value < 0 && value > -4096) return static_cast<errc>(-value);
  if constexpr (std::is_void_v<T>)
    return {};
  else
    return static_cast<T>(value);
}

// --- files -----------------------------------------------------------------------------------
inline result<int> openat(int dir, const char* path, int flags, u32 mode = 0) {
  return checked<int>(invoke(__NR_openat, dir, path, flags, mode));
}
inline result<void> close(int fd) { return checked<void>(invoke(__NR_close, fd)); }
inline result<void> close_range(u32 first, u32 last) {
  return checked<void>(invoke(__NR_close_range, first, last, 0));
}
inline result<u64> read(int fd, void* to, u64 n) {
  return checked<u64>(invoke(__NR_read, fd, to, n));
}
inline result<u64> write(int fd, const void* from, u64 n) {
  return checked<u64>(invoke(__NR_write, fd, from, n));
}
inline result<u64> pread(int fd, void* to, u64 n, u64 offset) {
  return checked<u64>(invoke(__NR_pread64, fd, to, n, offset));
}
inline result<u64> pwrite(int fd, const void* from, u64 n, u64 offset) {
  return checked<u64>(invoke(__NR_pwrite64, fd, from, n, offset));
}
inline result<i64> lseek(int fd, i64 offset, int whence) {
  return checked<i64>(invoke(__NR_lseek, fd, offset, whence));
}
inline result<void> newfstatat(int dir, const char* path, abi::stat& st, int flags) {
  return checked<void>(invoke(__NR_newfstatat, dir, path, &st, flags));
}
/// The file system's magic number, the first word of struct statfs.
inline result<i64> fstatfs_type(int fd) {
  i64 all[15] = {};  // 120 bytes
  const auto done = checked<void>(invoke(__NR_fstatfs, fd, &all[0]));
  if (!done.ok()) return done.error();
  return all[0];
}
inline result<void> fstat(int fd, abi::stat& st) {
  return checked<void>(invoke(__NR_fstat, fd, &st));
}
inline result<void> ftruncate(int fd, u64 n) {
  return checked<void>(invoke(__NR_ftruncate, fd, n));
}
inline result<void> fchmod(int fd, u32 mode) {
  return checked<void>(invoke(__NR_fchmod, fd, mode));
}
inline result<void> fsync(int fd) { return checked<void>(invoke(__NR_fsync, fd)); }
inline result<void> fdatasync(int fd) { return checked<void>(invoke(__NR_fdatasync, fd)); }
inline result<void> renameat(int from_dir, const char* from, int to_dir, const char* to) {
  return checked<void>(invoke(__NR_renameat, from_dir, from, to_dir, to));
}
inline result<void> unlinkat(int dir, const char* path, int flags) {
  return checked<void>(invoke(__NR_unlinkat, dir, path, flags));
}
inline result<u64> readlinkat(int dir, const char* path, char* to, u64 n) {
  return checked<u64>(invoke(__NR_readlinkat, dir, path, to, n));
}
inline result<u64> getdents64(int fd, void* to, u64 n) {
  return checked<u64>(invoke(__NR_getdents64, fd, to, n));
}
inline result<void> flock(int fd, int operation) {
  return checked<void>(invoke(__NR_flock, fd, operation));
}
template <class T>
result<long> fcntl(int fd, int command, T argument) {
  return checked(invoke(__NR_fcntl, fd, command, argument));
}
inline result<int> dup3(int from, int to, int flags) {
  return checked<int>(invoke(__NR_dup3, from, to, flags));
}
template <class T>
result<long> ioctl(int fd, unsigned long request, T argument) {
  return checked(invoke(__NR_ioctl, fd, request, argument));
}
inline result<u32> umask(u32 mask) { return checked<u32>(invoke(__NR_umask, mask)); }
inline result<void> chdir(const char* path) { return checked<void>(invoke(__NR_chdir, path)); }
/// The length includes the terminator.
inline result<u64> getcwd(char* to, u64 n) { return checked<u64>(invoke(__NR_getcwd, to, n)); }
inline result<void> pipe2(int (&ends)[2], int flags) {
  return checked<void>(invoke(__NR_pipe2, &ends[0], flags));
}
inline result<int> poll(abi::pollfd* fds, u64 n, int timeout_ms) {
  return checked<int>(invoke(__NR_poll, fds, n, timeout_ms));
}

/// A descriptor of another process as one of ours, since 5.6.
inline result<int> pidfd_getfd(int pidfd, int fd) {
  return checked<int>(invoke(__NR_pidfd_getfd, pidfd, fd, 0));
}
inline result<int> eventfd2(u32 count, int flags) {
  return checked<int>(invoke(__NR_eventfd2, count, flags));
}
inline result<int> timerfd_create(int clock, int flags) {
  return checked<int>(invoke(__NR_timerfd_create, clock, flags));
}
inline result<void> timerfd_gettime(int fd, abi::itimerspec& value) {
  return checked<void>(invoke(__NR_timerfd_gettime, fd, &value));
}
inline result<void> timerfd_settime(int fd, int flags, const abi::itimerspec& value) {
  return checked<void>(invoke(__NR_timerfd_settime, fd, flags, &value, 0));
}
/// A new descriptor when fd is -1, otherwise another mask for that one.
inline result<int> signalfd4(int fd, u64 mask, int flags) {
  return checked<int>(invoke(__NR_signalfd4, fd, &mask, sizeof mask, flags));
}
inline result<int> epoll_create1(int flags) {
  return checked<int>(invoke(__NR_epoll_create1, flags));
}
inline result<void> epoll_ctl(int epoll, int operation, int fd, const abi::epoll_event& event) {
  return checked<void>(invoke(__NR_epoll_ctl, epoll, operation, fd, &event));
}
inline result<int> epoll_wait(int epoll, abi::epoll_event* events, int n, int timeout_ms) {
  return checked<int>(invoke(__NR_epoll_wait, epoll, events, n, timeout_ms));
}

// --- sockets ---------------------------------------------------------------------------------
inline result<int> socket(int family, int type, int protocol) {
  return checked<int>(invoke(__NR_socket, family, type, protocol));
}
inline result<void> socketpair(int type, int (&ends)[2]) {
  return checked<void>(invoke(__NR_socketpair, abi::af_unix, type, 0, &ends[0]));
}
template <class T>
result<void> getsockopt(int fd, int option, T& value) {
  u32 size = sizeof value;
  return checked<void>(invoke(__NR_getsockopt, fd, abi::sol_socket, option, &value, &size));
}
template <class T>
result<void> setsockopt(int fd, int option, const T& value) {
  return checked<void>(invoke(__NR_setsockopt, fd, abi::sol_socket, option, &value, sizeof value));
}
inline result<u64> sendto(int fd, const void* from, u64 n, int flags) {
  return checked<u64>(invoke(__NR_sendto, fd, from, n, flags, 0, 0));
}
inline result<u64> recvfrom(int fd, void* to, u64 n, int flags) {
  return checked<u64>(invoke(__NR_recvfrom, fd, to, n, flags, 0, 0));
}
inline result<u64> recvmsg(int fd, abi::msghdr& message, int flags) {
  return checked<u64>(invoke(__NR_recvmsg, fd, &message, flags));
}
inline result<void> shutdown(int fd, int how) {
  return checked<void>(invoke(__NR_shutdown, fd, how));
}

// --- memory ----------------------------------------------------------------------------------
inline result<u64> mmap(u64 address, u64 length, int prot, int flags, int fd, u64 offset) {
  return checked<u64>(invoke(__NR_mmap, address, length, prot, flags, fd, offset));
}
inline result<void> munmap(u64 address, u64 length) {
  return checked<void>(invoke(__NR_munmap, address, length));
}
inline result<u64> mremap(u64 address, u64 old_length, u64 new_length, int flags, u64 to = 0) {
  return checked<u64>(invoke(__NR_mremap, address, old_length, new_length, flags, to));
}
inline result<void> mprotect(u64 address, u64 length, int prot) {
  return checked<void>(invoke(__NR_mprotect, address, length, prot));
}
inline result<void> madvise(u64 address, u64 length, int advice) {
  return checked<void>(invoke(__NR_madvise, address, length, advice));
}
inline result<void> mlock2(u64 address, u64 length, int flags) {
  return checked<void>(invoke(__NR_mlock2, address, length, flags));
}
inline result<void> munlock(u64 address, u64 length) {
  return checked<void>(invoke(__NR_munlock, address, length));
}
inline result<void> mlockall(int flags) {
  return checked<void>(invoke(__NR_mlockall, flags));
}
inline result<void> mincore(u64 address, u64 length, u8* present) {
  return checked<void>(invoke(__NR_mincore, address, length, present));
}
/// mseal(2), since 6.10; the headers of older distributions do not have its number.
inline result<void> mseal(u64 address, u64 length) {
  return checked<void>(invoke(462, address, length, 0));
}
inline result<int> memfd_create(const char* name, u32 flags) {
  return checked<int>(invoke(__NR_memfd_create, name, flags));
}
/// brk(2) as the kernel has it: returns the new break, or the old one when it refuses.
inline u64 brk(u64 address) { return static_cast<u64>(invoke(__NR_brk, address)); }
inline result<u64> process_vm_readv(int pid, const abi::iovec& to, const abi::iovec& from) {
  return checked<u64>(invoke(__NR_process_vm_readv, pid, &to, 1, &from, 1, 0));
}
inline result<u64> process_vm_writev(int pid, const abi::iovec& from, const abi::iovec& to) {
  return checked<u64>(invoke(__NR_process_vm_writev, pid, &from, 1, &to, 1, 0));
}

// --- signals ---------------------------------------------------------------------------------
inline result<void> rt_sigaction(int signal, const abi::kernel_sigaction* act,
                                 abi::kernel_sigaction* old) {
  return checked<void>(invoke(__NR_rt_sigaction, signal, act, old, 8));
}
inline result<void> rt_sigprocmask(int how, const u64* set, u64* old) {
  return checked<void>(invoke(__NR_rt_sigprocmask, how, set, old, 8));
}
inline result<void> rt_sigpending(u64& set) {
  return checked<void>(invoke(__NR_rt_sigpending, &set, 8));
}
inline result<void> rt_sigqueueinfo(int pid, int signal, const abi::siginfo& info) {
  return checked<void>(invoke(__NR_rt_sigqueueinfo, pid, signal, &info));
}
inline result<void> rt_tgsigqueueinfo(int pid, int tid, int signal, const abi::siginfo& info) {
  return checked<void>(invoke(__NR_rt_tgsigqueueinfo, pid, tid, signal, &info));
}
inline result<int> rt_sigtimedwait(u64 set, abi::siginfo& info, const abi::timespec& timeout) {
  return checked<int>(invoke(__NR_rt_sigtimedwait, &set, &info, &timeout, 8));
}
inline result<void> sigaltstack(const abi::stack* set, abi::stack* old) {
  return checked<void>(invoke(__NR_sigaltstack, set, old));
}
inline result<void> kill(int pid, int signal) {
  return checked<void>(invoke(__NR_kill, pid, signal));
}

// --- processes and threads -------------------------------------------------------------------
inline int getpid() { return static_cast<int>(invoke(__NR_getpid)); }
inline int gettid() { return static_cast<int>(invoke(__NR_gettid)); }
inline int getppid() { return static_cast<int>(invoke(__NR_getppid)); }
inline u32 getuid() { return static_cast<u32>(invoke(__NR_getuid)); }
inline u32 geteuid() { return static_cast<u32>(invoke(__NR_geteuid)); }
inline u32 getgid() { return static_cast<u32>(invoke(__NR_getgid)); }
inline u32 getegid() { return static_cast<u32>(invoke(__NR_getegid)); }
[[noreturn]] inline void exit(int status) {
  for (;;) (void)invoke(__NR_exit, status);
}
[[noreturn]] inline void exit_group(int status) {
  for (;;) (void)invoke(__NR_exit_group, status);
}
inline result<int> wait4(int pid, int* status, int options) {
  return checked<int>(invoke(__NR_wait4, pid, status, options, 0));
}
inline result<void> waitid(int type, int id, abi::siginfo& info, int options) {
  return checked<void>(invoke(__NR_waitid, type, id, &info, options, 0));
}
inline result<long> futex_wait(const u32* word, u32 expected, const abi::timespec* timeout) {
  return checked(invoke(__NR_futex, word, abi::futex_wait, expected, timeout, 0, 0));
}
inline result<long> futex_wake(const u32* word, int count) {
  return checked(invoke(__NR_futex, word, abi::futex_wake, count, 0, 0, 0));
}
template <class A, class D>
result<long> ptrace(int request, int tid, A address, D data) {
  return checked(invoke(__NR_ptrace, request, tid, address, data));
}
template <class... Args>
result<long> prctl(int option, Args... args) {
  return checked(invoke(__NR_prctl, option, args...));
}
template <class T>
result<long> arch_prctl(int option, T argument) {
  return checked(invoke(__NR_arch_prctl, option, argument));
}
inline result<int> kcmp(int pid1, int pid2, int type, u64 a, u64 b) {
  return checked<int>(invoke(__NR_kcmp, pid1, pid2, type, a, b));
}
inline result<int> pidfd_open(int pid, u32 flags) {
  return checked<int>(invoke(__NR_pidfd_open, pid, flags));
}
inline int set_tid_address(u64 address) {
  return static_cast<int>(invoke(__NR_set_tid_address, address));
}
inline result<void> get_robust_list(int tid, u64& head, u64& length) {
  return checked<void>(invoke(__NR_get_robust_list, tid, &head, &length));
}
inline result<void> set_robust_list(u64 head, u64 length) {
  return checked<void>(invoke(__NR_set_robust_list, head, length));
}
inline result<void> rseq(u64 address, u32 length, int flags, u32 signature) {
  return checked<void>(invoke(__NR_rseq, address, length, flags, signature));
}
inline result<u32> personality(u32 persona) {
  return checked<u32>(invoke(__NR_personality, persona));
}
inline result<void> prlimit64(int resource, const abi::rlimit64* set, abi::rlimit64* old) {
  return checked<void>(invoke(__NR_prlimit64, 0, resource, set, old));
}
inline result<void> execve(const char* path, const char* const* argv, const char* const* envp) {
  return checked<void>(invoke(__NR_execve, path, argv, envp));
}
inline result<void> execveat(int dir, const char* path, const char* const* argv,
                             const char* const* envp, int flags) {
  return checked<void>(invoke(__NR_execveat, dir, path, argv, envp, flags));
}
/// `size` is how much of the structure this kernel knows, at most sizeof attr.
inline result<void> sched_getattr(int tid, abi::sched_attr& attr, u32 size) {
  return checked<void>(invoke(__NR_sched_getattr, tid, &attr, size, 0));
}
inline result<void> sched_setattr(int tid, const abi::sched_attr& attr) {
  return checked<void>(invoke(__NR_sched_setattr, tid, &attr, 0));
}
/// How many bytes of the mask the kernel has written.
inline result<u64> sched_getaffinity(int tid, void* mask, u64 size) {
  return checked<u64>(invoke(__NR_sched_getaffinity, tid, size, mask));
}
inline result<void> sched_setaffinity(int tid, const void* mask, u64 size) {
  return checked<void>(invoke(__NR_sched_setaffinity, tid, size, mask));
}
inline result<int> ioprio_get(int tid) {
  return checked<int>(invoke(__NR_ioprio_get, abi::ioprio_who_process, tid));
}
inline result<void> ioprio_set(int tid, int priority) {
  return checked<void>(invoke(__NR_ioprio_set, abi::ioprio_who_process, tid, priority));
}
inline result<u32> membarrier(u32 command) {
  return checked<u32>(invoke(__NR_membarrier, command, 0, 0));
}
/// A child with memory of its own, as fork(2) makes it; in the child the result is 0.
inline result<int> clone3(const abi::clone_args& args) {
  return checked<int>(invoke(__NR_clone3, &args, sizeof args));
}
inline result<void> unshare(u64 flags) {
  return checked<void>(invoke(__NR_unshare, flags));
}
inline result<void> mount(const char* source, const char* target, const char* type, u64 flags) {
  return checked<void>(invoke(__NR_mount, source, target, type, flags, 0));
}
inline result<void> setpgid(int pid, int group) {
  return checked<void>(invoke(__NR_setpgid, pid, group));
}
inline result<int> setsid() {
  return checked<int>(invoke(__NR_setsid));
}
/// Without `info` the signal is kill(2)'s.
inline result<void> pidfd_send_signal(int fd, int signal, const abi::siginfo* info) {
  return checked<void>(invoke(__NR_pidfd_send_signal, fd, signal, info, 0));
}

// --- credentials -----------------------------------------------------------------------------
inline result<void> capget(abi::capabilities& sets) {
  const abi::capability_header h{abi::capability_version_3, 0};
  return checked<void>(invoke(__NR_capget, &h, &sets));
}
inline result<void> capset(const abi::capabilities& sets) {
  const abi::capability_header h{abi::capability_version_3, 0};
  return checked<void>(invoke(__NR_capset, &h, &sets));
}
inline result<void> setresuid(u32 real, u32 effective, u32 saved) {
  return checked<void>(invoke(__NR_setresuid, real, effective, saved));
}
inline result<void> setresgid(u32 real, u32 effective, u32 saved) {
  return checked<void>(invoke(__NR_setresgid, real, effective, saved));
}
inline result<void> getresuid(u32& real, u32& effective, u32& saved) {
  return checked<void>(invoke(__NR_getresuid, &real, &effective, &saved));
}
inline result<void> getresgid(u32& real, u32& effective, u32& saved) {
  return checked<void>(invoke(__NR_getresgid, &real, &effective, &saved));
}
/// They return what was set before, and no error.
inline u32 setfsuid(u32 id) {
  return static_cast<u32>(invoke(__NR_setfsuid, id));
}
inline u32 setfsgid(u32 id) {
  return static_cast<u32>(invoke(__NR_setfsgid, id));
}
/// With no room, how many there are.
inline result<u32> getgroups(u32 room, u32* groups) {
  return checked<u32>(invoke(__NR_getgroups, room, groups));
}
inline result<void> setgroups(u32 count, const u32* groups) {
  return checked<void>(invoke(__NR_setgroups, count, groups));
}

inline result<void> sched_yield() { return checked<void>(invoke(__NR_sched_yield)); }

// --- time, host, entropy ---------------------------------------------------------------------
inline result<void> clock_getres(int clock, abi::timespec& t) {
  return checked<void>(invoke(__NR_clock_getres, clock, &t));
}
inline result<void> clock_gettime(int clock, abi::timespec& t) {
  return checked<void>(invoke(__NR_clock_gettime, clock, &t));
}
inline result<void> nanosleep(const abi::timespec& t) {
  return checked<void>(invoke(__NR_nanosleep, &t, 0));
}
inline result<void> getitimer(int which, abi::itimerval& value) {
  return checked<void>(invoke(__NR_getitimer, which, &value));
}
inline result<void> setitimer(int which, const abi::itimerval& value) {
  return checked<void>(invoke(__NR_setitimer, which, &value, 0));
}
inline result<void> timer_create(int clock, const abi::sigevent& event, i32& id) {
  return checked<void>(invoke(__NR_timer_create, clock, &event, &id));
}
inline result<void> timer_delete(i32 id) {
  return checked<void>(invoke(__NR_timer_delete, id));
}
inline result<void> timer_gettime(i32 id, abi::itimerspec& value) {
  return checked<void>(invoke(__NR_timer_gettime, id, &value));
}
inline result<void> timer_settime(i32 id, int flags, const abi::itimerspec& value) {
  return checked<void>(invoke(__NR_timer_settime, id, flags, &value, 0));
}
inline result<i32> timer_getoverrun(i32 id) {
  return checked<i32>(invoke(__NR_timer_getoverrun, id));
}
inline result<void> uname(abi::utsname& names) {
  return checked<void>(invoke(__NR_uname, &names));
}
inline result<u64> getrandom(void* to, u64 n, u32 flags) {
  return checked<u64>(invoke(__NR_getrandom, to, n, flags));
}

}  // namespace ckpt::sys
