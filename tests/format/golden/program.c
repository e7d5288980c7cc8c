/* SPDX-License-Identifier: MIT
 *
 * The program in the golden images. It needs nothing but the kernel: no libc, no file, no directory but
 * the root. It fills memory, a pipe and, with an argument, more kinds of files, reads one byte from its
 * standard input, which is where it was frozen, and then looks whether all is as it was. */
#include <linux/eventpoll.h>
#include <sys/syscall.h>

static long call(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
                   : "rcx", "r11", "memory");
  return result;
}

static void say(const char* text, long length) { call(SYS_write, 1, (long)text, length, 0); }

static void require(int so) {
  if (so) return;
  say("wrong\n", 6);
  call(SYS_exit_group, 1, 0, 0, 0);
}

enum { words = 3 * 4096 };
static unsigned memory[words];
static const char sent[] = "in the pipe";
static const char message[] = "a message";

static unsigned expected(unsigned i) { return i * 2654435761u ^ i; }

static int same(const char* a, const char* b, long n) {
  while (n-- > 0)
    if (a[n] != b[n]) return 0;
  return 1;
}

__attribute__((used)) static void run(long* stack) {
  const int more = stack[0] > 1;
  int pipe[2], pair[2] = {-1, -1}, memfd = -1, counter = -1, epoll = -1;
  char got[16];
  unsigned* shared = 0;
  unsigned i;
  for (i = 0; i < words; ++i) memory[i] = expected(i);
  require(call(SYS_pipe2, (long)pipe, 0, 0, 0) == 0);
  require(call(SYS_write, pipe[1], (long)sent, sizeof sent, 0) == sizeof sent);
  if (more) {
    struct epoll_event event = {EPOLLIN, 4711};
    require(call(SYS_socketpair, 1, 2, 0, (long)pair) == 0);
    require(call(SYS_write, pair[0], (long)message, sizeof message, 0) == sizeof message);
    require((counter = (int)call(SYS_eventfd2, 7, 0, 0, 0)) >= 0);
    require((epoll = (int)call(SYS_epoll_create1, 0, 0, 0, 0)) >= 0);
    require(call(SYS_epoll_ctl, epoll, 1, counter, (long)&event) == 0);
    require((memfd = (int)call(SYS_memfd_create, (long)"golden", 0, 0, 0)) >= 0);
    require(call(SYS_ftruncate, memfd, 8192, 0, 0) == 0);
    {
      register long r8 __asm__("r8") = memfd;
      register long r9 __asm__("r9") = 0;
      register long r10 __asm__("r10") = 1;
      long at;
      __asm__ volatile("syscall"
                       : "=a"(at)
                       : "a"(SYS_mmap), "D"(0), "S"(8192), "d"(3), "r"(r10), "r"(r8), "r"(r9)
                       : "rcx", "r11", "memory");
      shared = (unsigned*)at;
    }
    for (i = 0; i < 2048; ++i) shared[i] = ~expected(i);
  }
  say("ready\n", 6);
  require(call(SYS_read, 0, (long)got, 1, 0) == 0);
  for (i = 0; i < words; ++i) require(memory[i] == expected(i));
  require(call(SYS_read, pipe[0], (long)got, sizeof got, 0) == sizeof sent);
  require(same(got, sent, sizeof sent));
  if (more) {
    struct epoll_event event = {0, 0};
    require(call(SYS_read, pair[1], (long)got, sizeof got, 0) == sizeof message);
    require(same(got, message, sizeof message));
    require(call(SYS_epoll_wait, epoll, (long)&event, 1, 0) == 1 && event.data == 4711);
    require(call(SYS_read, counter, (long)got, 8, 0) == 8 && got[0] == 7);
    for (i = 0; i < 2048; ++i) require(shared[i] == ~expected(i));
    require(call(SYS_pread64, memfd, (long)got, 4, 4) == 4);
    require(*(unsigned*)got == ~expected(1));
  }
  say("ok\n", 3);
  call(SYS_exit_group, 0, 0, 0, 0);
}

__asm__(
    ".globl _start\n"
    "_start: xor %ebp, %ebp\n"
    "mov %rsp, %rdi\n"
    "and $-16, %rsp\n"
    "call run\n");
