// SPDX-License-Identifier: MIT
// Calls that nothing ends but their time limit, each once more named by the argument: they answer
// what they answer at the end of a full wait, never EINTR, and never early. Some make the call in a
// way of their own; others hold what cannot be saved, and a refused checkpoint leaves them alone.
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <mqueue.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include "sleeping.hpp"

using victim::nap_spec;

static timespec later(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  int64_t end = time.tv_sec * 1'000'000'000 + time.tv_nsec + victim::nap;
  return {end / 1'000'000'000, end % 1'000'000'000};
}

static bool timed_out(long result) {
  return result == -1 && errno == ETIMEDOUT;
}
static bool again(long result) {
  return result == -1 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

// --- the number of the call is not beside it ---------------------------------------------------
static long raw(long result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}
static long number_in_register(long number, const void* a, void* b) {
  long result;
  asm volatile("mov %[number], %%rax\n\tsyscall"
               : "=&a"(result)
               : [number] "r"(number), "D"(a), "S"(b)
               : "rcx", "r11", "memory");
  return raw(result);
}
static long number_on_stack(long number, const void* a, void* b) {
  long result;
  asm volatile("push %[number]\n\tmov (%%rsp), %%rax\n\tsyscall\n\tpop %%rcx"
               : "=&a"(result)
               : [number] "r"(number), "D"(a), "S"(b)
               : "rcx", "r11", "memory");
  return raw(result);
}
// The lea, 49 8d b8 ca 00 00 00, looks like `mov $202, %eax` from its third byte on.
static long number_far_before(const void* a, void* b) {
  long result;
  asm volatile(
      "mov %[number], %%eax\n\tlea 202(%%r8), %%rdi\n\tmov %[a], %%rdi\n\t"
      "mov %[b], %%rsi\n\tsyscall"
      : "=&a"(result)
      : [number] "i"(SYS_nanosleep), [a] "r"(a), [b] "r"(b)
      : "rcx", "rdi", "rsi", "r11", "memory");
  return raw(result);
}
// Another path leads to the call: `mov $202, %eax` stands before it and has not been executed.
static long number_by_jump(const void* a, void* b) {
  long result;
  asm volatile(
      "mov %[number], %%ebx\n\tjmp 2f\n\t1: mov $202, %%eax\n\tjmp 3f\n\t"
      "2: test %%ebx, %%ebx\n\tjz 1b\n\tmov %%rbx, %%rax\n\t3: syscall"
      : "=&a"(result)
      : [number] "i"(SYS_nanosleep), "D"(a), "S"(b)
      : "rcx", "rbx", "r11", "memory");
  return raw(result);
}

// --- what they hold ----------------------------------------------------------------------------
static int identifier;  // of what the test has made outside
static int pair[2] = {-1, -1};
static uint32_t word = 1;

static void limit(int fd, int which) {
  timeval time{0, victim::nap / 1000};
  setsockopt(fd, SOL_SOCKET, which, &time, sizeof time);
}
static void make_pair() {
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) victim::broken("socketpair");
  limit(pair[0], SO_RCVTIMEO);
  limit(pair[0], SO_SNDTIMEO);
}
static void make_full_pair() {
  make_pair();
  char block[4096] = {};
  while (send(pair[0], block, sizeof block, MSG_DONTWAIT) > 0) {
  }
}
// A listener, and in pair[1] a socket that waits because nobody accepts the first one.
static void make_listener() {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  pair[0] = socket(AF_UNIX, SOCK_STREAM, 0);
  limit(pair[0], SO_RCVTIMEO);
  if (bind(pair[0], reinterpret_cast<sockaddr*>(&name), sizeof(sa_family_t)) != 0 ||
      listen(pair[0], 0) != 0)
    victim::broken("listen");
}
static bool connects(int fd) {
  sockaddr_un name{};
  socklen_t length = sizeof name;
  getsockname(pair[0], reinterpret_cast<sockaddr*>(&name), &length);
  return connect(fd, reinterpret_cast<sockaddr*>(&name), length) == 0;
}
static void make_full_listener() {
  make_listener();
  if (!connects(socket(AF_UNIX, SOCK_STREAM, 0))) victim::broken("connect");
  pair[1] = socket(AF_UNIX, SOCK_STREAM, 0);
  limit(pair[1], SO_SNDTIMEO);
}
static void make_epoll() {
  pair[0] = epoll_create1(0);
  epoll_event event{};
  if (epoll_ctl(pair[0], EPOLL_CTL_ADD, 0, &event) != 0) victim::broken("epoll_ctl");
}
static void make_queue() {
  mq_attr limits{};
  limits.mq_maxmsg = 1, limits.mq_msgsize = 8;
  const std::string name = "/ckpt-victim-" + std::to_string(getpid());
  pair[0] = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &limits);
  if (pair[0] < 0) victim::skip("no POSIX message queues here");
  mq_unlink(name.c_str());
}
static void make_full_queue() {
  make_queue();
  if (mq_send(pair[0], "x", 1, 0) != 0) victim::broken("mq_send");
}
static aio_context_t ring;
static void make_ring() {
  if (syscall(SYS_io_setup, 1, &ring) != 0) victim::skip("no asynchronous I/O here");
}
// A filter that kills for what only a checkpoint does.
static void make_filter() {
  sock_filter code[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_vm_readv, 4, 0),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ptrace, 3, 0),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
                        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigpending, 1, 0),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
                        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)};
  sock_fprog program{sizeof code / sizeof *code, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    victim::skip("no seccomp here");
}
static void nothing() {}

struct timed_call {
  const char* name;
  void (*prepare)();
  bool (*call)();
};
static const timed_call calls[] = {
    {"clock_nanosleep", nothing,
     [] {
       timespec time = nap_spec(), rest{};
       return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, &rest) == 0;
     }},
    {"nanosleep_in_place", nothing,
     [] {
       timespec time = nap_spec();
       return nanosleep(&time, &time) == 0;
     }},
    {"futex_bitset", nothing,
     [] {
       timespec time = later(CLOCK_MONOTONIC);
       return timed_out(syscall(SYS_futex, &word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, 1, &time,
                                nullptr, FUTEX_BITSET_MATCH_ANY));
     }},
    {"futex_waitv", nothing,
     [] {
       constexpr long futex_waitv = 449;
       struct {
         uint64_t value, address;
         uint32_t flags, reserved;
       } one{1, reinterpret_cast<uintptr_t>(&word), 2 | 128, 0};
       timespec time = later(CLOCK_MONOTONIC);
       long got = syscall(futex_waitv, &one, 1, 0, &time, CLOCK_MONOTONIC);
       if (got == -1 && errno == ENOSYS) victim::skip("no futex_waitv here");
       return timed_out(got);
     }},
    {"syscall_futex", nothing,
     [] {
       timespec time = nap_spec();
       return timed_out(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &time, nullptr, 0));
     }},
    {"syscall_nanosleep", nothing,
     [] {
       timespec time = nap_spec();
       return syscall(SYS_nanosleep, &time, nullptr) == 0;
     }},
    {"number_in_register", nothing,
     [] {
       timespec time = nap_spec();
       return number_in_register(SYS_nanosleep, &time, nullptr) == 0;
     }},
    {"number_on_stack", nothing,
     [] {
       timespec time = nap_spec();
       return number_on_stack(SYS_nanosleep, &time, nullptr) == 0;
     }},
    {"number_far_before", nothing,
     [] {
       timespec time = nap_spec();
       return number_far_before(&time, nullptr) == 0;
     }},
    {"number_by_jump", nothing,
     [] {
       timespec time = nap_spec();
       // Nobody can know the number: EINTR it is, or the full wait.
       int64_t start = victim::now();
       while (number_by_jump(&time, &time) != 0) {
         if (errno != EINTR) return false;
         if (victim::now() - start > 20 * victim::nap) return false;
       }
       return true;
     }},
    {"semtimedop", nothing,
     [] {
       sembuf wait{0, -1, 0};
       timespec time = nap_spec();
       return again(semtimedop(identifier, &wait, 1, &time));
     }},
    {"epoll_wait", make_epoll,
     [] {
       epoll_event event{};
       return epoll_wait(pair[0], &event, 1, victim::nap / 1'000'000) == 0;
     }},
    {"epoll_pwait", make_epoll,
     [] {
       epoll_event event{};
       sigset_t mask;
       sigemptyset(&mask);
       return epoll_pwait(pair[0], &event, 1, victim::nap / 1'000'000, &mask) == 0;
     }},
    {"epoll_pwait2", make_epoll,
     [] {
       epoll_event event{};
       timespec time = nap_spec();
       int got = epoll_pwait2(pair[0], &event, 1, &time, nullptr);
       if (got == -1 && errno == ENOSYS) victim::skip("no epoll_pwait2 here");
       return got == 0;
     }},
    {"read_socket", make_pair,
     [] {
       char byte;
       return again(read(pair[0], &byte, 1));
     }},
    {"recv", make_pair,
     [] {
       char byte;
       return again(recv(pair[0], &byte, 1, 0));
     }},
    {"recvmsg", make_pair,
     [] {
       char byte;
       iovec part{&byte, 1};
       msghdr message{};
       message.msg_iov = &part, message.msg_iovlen = 1;
       return again(recvmsg(pair[0], &message, 0));
     }},
    {"recvmmsg", make_pair,
     [] {
       char byte;
       iovec part{&byte, 1};
       mmsghdr message{};
       message.msg_hdr.msg_iov = &part, message.msg_hdr.msg_iovlen = 1;
       return again(recvmmsg(pair[0], &message, 1, 0, nullptr));
     }},
    {"accept", make_listener, [] { return again(accept(pair[0], nullptr, nullptr)); }},
    {"connect", make_full_listener, [] { return !connects(pair[1]) && again(-1); }},
    {"send", make_full_pair, [] { return again(send(pair[0], "x", 1, 0)); }},
    {"write_socket", make_full_pair, [] { return again(write(pair[0], "x", 1)); }},
    {"mq_timedreceive", make_queue,
     [] {
       char text[8];
       timespec time = later(CLOCK_REALTIME);
       return timed_out(mq_timedreceive(pair[0], text, sizeof text, nullptr, &time));
     }},
    {"mq_timedsend", make_full_queue,
     [] {
       timespec time = later(CLOCK_REALTIME);
       return timed_out(mq_timedsend(pair[0], "x", 1, 0, &time));
     }},
    {"poll_filtered", make_filter, [] { return poll(nullptr, 0, victim::nap / 1'000'000) == 0; }},
    {"io_getevents", make_ring,
     [] {
       io_event event{};
       timespec time = nap_spec();
       return syscall(SYS_io_getevents, ring, 1, 1, &event, &time) == 0;
     }},
};

int main(int count, char** values) {
  const auto& chosen = victim::chosen(count, values, calls);
  if (count > 3) identifier = atoi(values[3]);
  chosen.prepare();
  return victim::sleeps(count, values, chosen.name, chosen.call);
}
