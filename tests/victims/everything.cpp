// SPDX-License-Identifier: MIT
// A little of every state at once, for tests that make single system calls of a checkpoint or
// restart fail: whatever is lost then, this program misses. While it works it makes no call but
// access(2). With a number as its second argument, so many threads check their own sums meanwhile; a
// third is the MiB that its image is larger, for tests that need it to take a while.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <vector>

#include "threads.hpp"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#endif

static unsigned char area[64 * 1024];
static volatile int handled;
static void handler(int) { handled = handled + 1; }

static int opened(const char* path, int flags) {
  int fd = open(path, flags, 0640);
  if (fd < 0) victim::broken(path);
  return fd;
}

// In general, vector and x87 registers, without a call.
static uint64_t sum_of(uint64_t seed) {
  uint64_t a = seed | 1;
  double x = 1;
  long double y = 1;
  for (int i = 0; i < 5'000; ++i) {
    a = a * 6364136223846793005u + 1442695040888963407u;
    x = x * 1.0000001 + static_cast<double>(a >> 60);
    y += 1 / (y + static_cast<long double>(x));
  }
  uint64_t bits[2] = {};
  memcpy(&bits[0], &x, sizeof x);
  memcpy(&bits[1], &y, sizeof bits[1]);
  return a ^ bits[0] ^ bits[1] << 1;
}
static void check_sums(uint64_t seed) {
  const uint64_t wanted = sum_of(seed);
  victim::block(SIG_BLOCK, {SIGTSTP});  // the trigger is the first thread's
  victim::arrive();
  while (victim::stopping == 0)
    if (const uint64_t got = sum_of(seed); got != wanted)
      victim::lost("the sum of thread %d", static_cast<int>(seed));
}

// What /proc says of a lock that this process holds on a descriptor; inode numbers differ.
static size_t locks_on(int fd) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
  const std::string text = victim::slurp(path);
  size_t found = 0;
  for (size_t at = 0; (at = text.find("lock:", at)) != std::string::npos; ++at) ++found;
  return found;
}

int main(int count, char** values) {
  victim::begin(count, values);
  // Descriptors: offset, flags, sharing, locks; a deleted file; a pipe with something in it.
  int log = opened("log", O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC);
  if (write(log, "one line\n", 9) != 9 || lseek(log, 3, SEEK_SET) != 3) victim::broken("log");
  int same = dup(log);
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_start = 2;
  lock.l_len = 3;
  if (fcntl(log, F_SETLK, &lock) != 0) victim::broken("F_SETLK");
  int guarded = opened("guarded", O_RDWR | O_CREAT);
  if (flock(guarded, LOCK_EX | LOCK_NB) != 0) victim::broken("flock");
  int unnamed = opened("unnamed", O_RDWR | O_CREAT | O_TRUNC);
  unsigned char content[9000];
  victim::fill(content, sizeof content, 21);
  if (write(unnamed, content, sizeof content) != sizeof content || unlink("unnamed") != 0)
    victim::broken("unnamed");
  int ends[2];
  if (pipe(ends) != 0 || write(ends[1], "in the pipe", 11) != 11) victim::broken("pipe");
  int directory = opened(".", O_RDONLY | O_DIRECTORY);
  // Memory of several kinds.
  auto* heap = static_cast<unsigned char*>(malloc(3 << 20));
  victim::fill(heap, 3 << 20, 22);
  auto* sealed = static_cast<unsigned char*>(
      mmap(nullptr, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  victim::fill(sealed, 16384, 23);
  const size_t more = count > 3 ? strtoul(values[3], nullptr, 10) << 20 : 0;
  unsigned char* large = nullptr;
  if (more != 0) {
    large = static_cast<unsigned char*>(
        mmap(nullptr, more, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (large == MAP_FAILED) victim::broken("mmap");
    for (size_t at = 0; at < more; at += 3 << 20)
      memcpy(large + at, heap, more - at < 3 << 20 ? more - at : 3 << 20);
  }
  mprotect(sealed, 8192, PROT_NONE);
  mprotect(sealed + 8192, 8192, PROT_READ);
  // Signals.
  stack_t stack{};
  stack.ss_sp = area;
  stack.ss_size = sizeof area;
  sigaltstack(&stack, nullptr);
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaddset(&action.sa_mask, SIGUSR2);
  sigaction(SIGUSR1, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigaddset(&blocked, SIGRTMIN + 3);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  const int threads = count > 2 ? atoi(values[2]) : 0;
  std::vector<pthread_t> running;
  for (int i = 0; i < threads; ++i)
    running.push_back(victim::start([i] { check_sums(static_cast<uint64_t>(i) + 1); }));
  victim::gather(threads);
  sigqueue(getpid(), SIGRTMIN + 3, sigval{.sival_int = 4711});
  // The process itself.
  itimerval timer{{0, 0}, {100'000, 0}};
  setitimer(ITIMER_REAL, &timer, nullptr);
  umask(0027);
  prctl(PR_SET_NAME, "every thing");
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  if (files.rlim_cur > 777) files.rlim_cur = 777;
  setrlimit(RLIMIT_NOFILE, &files);
  void *robust = nullptr, *robust_after = nullptr;
  size_t robust_size = 0;
  syscall(SYS_get_robust_list, 0, &robust, &robust_size);
  int *clear = nullptr, *clear_after = nullptr;
  const bool has_clear = prctl(PR_GET_TID_ADDRESS, &clear) == 0;
  char where[4096], where_after[4096];
  if (!getcwd(where, sizeof where)) victim::broken("getcwd");
  const std::string command = victim::slurp("/proc/self/cmdline");
  const size_t guarded_locks = locks_on(guarded), log_locks = locks_on(log);
  int64_t begun = victim::now();
  victim::work_until_stop();
  victim::tell_all();
  for (pthread_t thread : running) victim::join_well(thread, "a thread");

  victim::expect_equal("offset", 3, static_cast<uint64_t>(lseek(log, 0, SEEK_CUR)));
  victim::expect_equal("flags", O_RDWR | O_APPEND, fcntl(log, F_GETFL) & (O_ACCMODE | O_APPEND));
  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(log, F_GETFD));
  victim::expect_equal("close-on-exec of the dup", 0, fcntl(same, F_GETFD));
  lseek(same, 5, SEEK_SET);
  victim::expect_equal("the shared offset", 5, static_cast<uint64_t>(lseek(log, 0, SEEK_CUR)));
  victim::expect_equal("POSIX locks", log_locks, locks_on(log));
  victim::expect_equal("flock", guarded_locks, locks_on(guarded));
  unsigned char back[sizeof content] = {};
  if (pread(unnamed, back, sizeof back, 0) != sizeof back) victim::lost("the unnamed file");
  victim::expect_filled("the unnamed file", back, sizeof back, 21);
  victim::expect_equal("its offset", sizeof content, static_cast<uint64_t>(lseek(unnamed, 0, SEEK_CUR)));
  char text[32] = {};
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  if (read(ends[0], text, sizeof text) != 11 || strcmp(text, "in the pipe") != 0)
    victim::lost("the pipe holds '%s'", text);
  if (faccessat(directory, "log", F_OK, 0) != 0) victim::lost("the directory");
  victim::expect_filled("heap", heap, 3 << 20, 22);
  for (size_t at = 0; at < more; at += 3 << 20)
    if (memcmp(large + at, heap, more - at < 3 << 20 ? more - at : 3 << 20) != 0)
      victim::lost("large memory, from %zu", at);
  if (victim::mapping_of(sealed).permissions != "---p" ||
      victim::mapping_of(sealed + 8192).permissions != "r--p")
    victim::lost("protections");
  mprotect(sealed, 8192, PROT_READ);
  victim::expect_filled("sealed memory", sealed, 16384, 23);

  stack_t stack_after{};
  sigaltstack(nullptr, &stack_after);
  victim::expect_equal("ss_sp", reinterpret_cast<uintptr_t>(area),
                       reinterpret_cast<uintptr_t>(stack_after.ss_sp));
  struct sigaction after {};
  sigaction(SIGUSR1, nullptr, &after);
  if (after.sa_handler != handler || !sigismember(&after.sa_mask, SIGUSR2) ||
      (after.sa_flags & SA_ONSTACK) == 0)
    victim::lost("the handler");
  sigaction(SIGPIPE, nullptr, &after);
  if (after.sa_handler != SIG_IGN) victim::lost("an ignored signal");
  sigset_t mask;
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  for (int s = 1; s <= 64; ++s)
    if (sigismember(&mask, s) != sigismember(&blocked, s)) victim::lost("the mask, signal %d", s);
  siginfo_t info{};
  timespec none{};
  if (sigtimedwait(&blocked, &info, &none) != SIGRTMIN + 3 || info.si_value.sival_int != 4711)
    victim::lost("the pending signal");
  sigpending(&mask);
  for (int s = 1; s <= 64; ++s)
    if (sigismember(&mask, s) == 1) victim::lost("signal %d is pending", s);
  raise(SIGUSR1);
  victim::expect_equal("the handler's runs", 1, static_cast<uint64_t>(handled));

  getitimer(ITIMER_REAL, &timer);
  if (timer.it_value.tv_sec < 99'000 || timer.it_value.tv_sec > 100'000)
    victim::lost("the timer: %ld s", static_cast<long>(timer.it_value.tv_sec));
  if (victim::now() < begun) victim::lost("time runs backwards");
  victim::expect_equal("umask", 0027, umask(0));
  char name[16] = {};
  prctl(PR_GET_NAME, name);
  if (strcmp(name, "every thing") != 0) victim::lost("the name: %s", name);
  rlimit files_after{};
  getrlimit(RLIMIT_NOFILE, &files_after);
  victim::expect_equal("RLIMIT_NOFILE", files.rlim_cur, files_after.rlim_cur);
  syscall(SYS_get_robust_list, 0, &robust_after, &robust_size);
  victim::expect_equal("robust list", reinterpret_cast<uintptr_t>(robust),
                       reinterpret_cast<uintptr_t>(robust_after));
  if (has_clear && prctl(PR_GET_TID_ADDRESS, &clear_after) == 0) {
    victim::expect_equal("clear_child_tid", reinterpret_cast<uintptr_t>(clear),
                         reinterpret_cast<uintptr_t>(clear_after));
    victim::expect_equal("the cached thread id", static_cast<uint64_t>(gettid()),
                         static_cast<uint64_t>(*clear_after));
  }
#if __has_include(<sys/rseq.h>)
  if (__rseq_size != 0) {
    auto* registered = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
    if (syscall(SYS_rseq, registered, 32, 0, RSEQ_SIG) == 0 || errno != EBUSY)
      victim::lost("rseq is not registered");
  }
#endif
  if (!getcwd(where_after, sizeof where_after) || strcmp(where, where_after) != 0)
    victim::lost("the directory: %s", where_after);
  if (victim::slurp("/proc/self/cmdline") != command) victim::lost("the command line");
  return victim::finish();
}
