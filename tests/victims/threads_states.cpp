// SPDX-License-Identifier: MIT
// Threads in every kind of wait, and running with values in their registers: no wait ends with
// EINTR, none with a time limit ends early, none without one ends before it is told to.
// VICTIM_ONLY=NAME leaves the others out.
//
// Fidelity: thread | any number of threads: running, or waiting in futex, read, write, poll, ppoll, select, pselect, nanosleep, clock_nanosleep, sigtimedwait, sigsuspend, pause, semaphores, flock; also with all signals blocked | kept; no EINTR, time limits never early
#include <fcntl.h>
#include <immintrin.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/file.h>
#include <sys/select.h>

#include <vector>

#include "sleeping.hpp"
#include "threads.hpp"

namespace {

using victim::lost;
using victim::stopping;

thread_local const char* name;

// --- with a time limit ---------------------------------------------------------------------------
template <class Call>
void naps(Call call) {
  while (!stopping) victim::sleep_once(name, call);
}
timespec after_nap(clockid_t clock) {
  timespec time{};
  clock_gettime(clock, &time);
  // A microsecond more, so that it is not too early for having been rounded.
  time.tv_nsec += victim::nap + 1000;
  time.tv_sec += time.tv_nsec / 1'000'000'000;
  time.tv_nsec %= 1'000'000'000;
  return time;
}
void futex_timed() {
  std::atomic<int> word{1};
  naps([&] {
    timespec time = victim::nap_spec();
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &time, nullptr, 0) == -1 &&
           errno == ETIMEDOUT;
  });
}
void futex_until() {
  std::atomic<int> word{1};
  naps([&] {
    timespec time = after_nap(CLOCK_MONOTONIC);
    return syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, 1, &time, nullptr, ~0u) == -1 &&
           errno == ETIMEDOUT;
  });
}
void poll_timed() {
  naps([] { return poll(nullptr, 0, victim::nap / 1'000'000) == 0; });
}
void ppoll_timed() {
  naps([] {
    timespec time = victim::nap_spec();
    sigset_t mask;
    sigemptyset(&mask);
    return ppoll(nullptr, 0, &time, &mask) == 0;
  });
}
void select_timed() {
  naps([] {
    timeval time{0, victim::nap / 1000};
    return select(0, nullptr, nullptr, nullptr, &time) == 0;
  });
}
void pselect_timed() {
  naps([] {
    timespec time = victim::nap_spec();
    return pselect(0, nullptr, nullptr, nullptr, &time, nullptr) == 0;
  });
}
void nanosleep_timed() {
  naps([] {
    timespec time = victim::nap_spec();
    return nanosleep(&time, nullptr) == 0;
  });
}
void clock_nanosleep_relative() {
  naps([] {
    timespec time = victim::nap_spec();
    return (errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr)) == 0;
  });
}
void clock_nanosleep_absolute() {
  naps([] {
    timespec time = after_nap(CLOCK_MONOTONIC);
    return (errno = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nullptr)) == 0;
  });
}
void sigtimedwait_timed() {
  victim::block(SIG_BLOCK, {SIGUSR2});
  naps([] {
    timespec time = victim::nap_spec();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    return sigtimedwait(&set, nullptr, &time) == -1 && errno == EAGAIN;
  });
}
void sem_timed() {
  sem_t semaphore;
  sem_init(&semaphore, 0, 0);
  naps([&] {
    timespec time = after_nap(CLOCK_MONOTONIC);
    return sem_clockwait(&semaphore, CLOCK_MONOTONIC, &time) == -1 && errno == ETIMEDOUT;
  });
}
void blocked_nanosleep() {
  victim::block_all();
  nanosleep_timed();
}
void blocked_sigtimedwait() {
  victim::block_all();
  sigtimedwait_timed();
}

// --- without one: whoever ends them does so after the stop ---------------------------------------
struct ends {
  int read = -1, write = -1;
};
ends make_pipe() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) victim::broken("pipe");
  return {fds[0], fds[1]};
}
void expect_told(bool right) {
  int error = errno;
  if (!right) lost("%s: errno %d (%s)", name, error, strerror(error));
  if (!stopping) lost("%s ended before anybody ended it", name);
}
ends for_read = make_pipe(), for_poll = make_pipe(), for_select = make_pipe(),
     for_blocked = make_pipe(), for_write = make_pipe();
void read_byte() {
  char byte = 0;
  expect_told(read(for_read.read, &byte, 1) == 1 && byte == 'x');
}
void blocked_read() {
  victim::block_all();
  char byte = 0;
  expect_told(read(for_blocked.read, &byte, 1) == 1 && byte == 'x');
}
void write_byte() {
  std::vector<char> bytes(1 << 16, 'y');
  if (write(for_write.write, bytes.data(), bytes.size()) != 1 << 16) victim::broken("full pipe");
  char byte = 'z';
  expect_told(write(for_write.write, &byte, 1) == 1);
}
void poll_for_ever() {
  pollfd fd{for_poll.read, POLLIN, 0};
  expect_told(poll(&fd, 1, -1) == 1 && fd.revents == POLLIN);
}
void select_for_ever() {
  fd_set set;
  FD_ZERO(&set);
  FD_SET(for_select.read, &set);
  expect_told(select(for_select.read + 1, &set, nullptr, nullptr, nullptr) == 1);
}
std::atomic<int> word{0};
void futex_for_ever() {
  // EAGAIN: told before the wait that a restart makes again has begun.
  expect_told(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0) == 0 ||
              errno == EAGAIN);
}
void blocked_futex() {
  victim::block_all();
  futex_for_ever();
}
sem_t semaphore;
void sem_for_ever() {
  expect_told(sem_wait(&semaphore) == 0);
}
void sigwaitinfo_for_ever() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 2);
  siginfo_t info{};
  expect_told(sigwaitinfo(&set, &info) == SIGRTMIN + 2 && info.si_value.sival_int == 77);
}
// Interrupted by the program's own signal, and by nothing else.
void pause_for_ever() {
  expect_told(pause() == -1 && errno == EINTR);
}
void suspend_for_ever() {
  victim::block(SIG_BLOCK, {SIGUSR1});
  sigset_t none;
  sigemptyset(&none);
  expect_told(sigsuspend(&none) == -1 && errno == EINTR);
}
int lock_file(int flags) {
  int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || flock(fd, LOCK_EX | flags) != 0) return -1;
  return fd;
}
int locked = -1;
void flock_for_ever() {
  expect_told(lock_file(0) >= 0);
}

// --- in no call ----------------------------------------------------------------------------------
void integers() {
  uint64_t first = 0;
  while (!stopping) {
    uint64_t a = 1, b = 2, c = 3, d = 4;
    for (int i = 0; i < 300'000; ++i) {
      a = a * 6364136223846793005 + b, b ^= c << 13, c += d >> 7, d = d * 31 + a;
    }
    uint64_t sum = a ^ b ^ c ^ d;
    if (first == 0) first = sum;
    victim::expect_equal(name, first, sum);
  }
}
void blocked_integers() {
  victim::block_all();
  integers();
}
void doubles() {
  double first = 0;
  while (!stopping) {
    __m128d a = _mm_set_pd(1.5, 2.5), b = _mm_set_pd(0.999999, 1.000001), c = _mm_set1_pd(0.25);
    for (int i = 0; i < 300'000; ++i) a = _mm_add_pd(_mm_mul_pd(a, b), c), c = _mm_sub_pd(c, b);
    double sum = a[0] + a[1] * 3 + c[0];
    if (first == 0) first = sum;
    if (sum != first) lost("%s: %a instead of %a", name, sum, first);
  }
}
[[gnu::target("avx2")]] void wide() {
  long long first = 0;
  while (!stopping) {
    __m256i a = _mm256_set_epi64x(1, 2, 3, 4), b = _mm256_set_epi64x(5, 6, 7, 8);
    for (int i = 0; i < 300'000; ++i) {
      a = _mm256_add_epi64(a, _mm256_slli_epi64(b, 7));
      b = _mm256_xor_si256(b, _mm256_srli_epi64(a, 3));
    }
    long long sum = (a[0] ^ b[3]) + (a[2] ^ b[1]) * 3 + a[1] + a[3] * 5 + b[0] + b[2];
    if (first == 0) first = sum;
    if (sum != first) lost("%s: %llx instead of %llx", name, sum, first);
  }
}
void wide_where_there_is() {
  if (__builtin_cpu_supports("avx2")) wide();
}

struct state {
  const char* name;
  void (*body)();
  // Ends it; called until it has.
  void (*end)(pthread_t) = nullptr;
};
void tell(int fd) {
  if (write(fd, "x", 1) != 1) lost("write: %s", strerror(errno));
}
// What comes between a restart and the first instruction of pause is no news to it: again and
// again.
void signal_it(pthread_t thread) {
  pthread_kill(thread, SIGUSR1);
}
const state states[] = {
    {"futex_timed", futex_timed},
    {"futex_until", futex_until},
    {"poll_timed", poll_timed},
    {"ppoll_timed", ppoll_timed},
    {"select_timed", select_timed},
    {"pselect_timed", pselect_timed},
    {"nanosleep", nanosleep_timed},
    {"clock_nanosleep_relative", clock_nanosleep_relative},
    {"clock_nanosleep_absolute", clock_nanosleep_absolute},
    {"sigtimedwait", sigtimedwait_timed},
    {"sem_timed", sem_timed},
    {"blocked_nanosleep", blocked_nanosleep},
    {"blocked_sigtimedwait", blocked_sigtimedwait},
    {"read", read_byte, [](pthread_t) { tell(for_read.write); }},
    {"blocked_read", blocked_read, [](pthread_t) { tell(for_blocked.write); }},
    {"write", write_byte,
     [](pthread_t) {
       char bytes[4096];
       for (int left = 1 << 16; left > 0;)
         left -= static_cast<int>(read(for_write.read, bytes, sizeof bytes));
       if (read(for_write.read, bytes, 1) != 1 || bytes[0] != 'z') lost("what was to be written");
     }},
    {"poll", poll_for_ever, [](pthread_t) { tell(for_poll.write); }},
    {"select", select_for_ever, [](pthread_t) { tell(for_select.write); }},
    {"futex", futex_for_ever, [](pthread_t) { victim::set_word(word, 1); }},
    {"blocked_futex", blocked_futex, [](pthread_t) { victim::set_word(word, 1); }},
    {"sem", sem_for_ever, [](pthread_t) { sem_post(&semaphore); }},
    {"sigwaitinfo", sigwaitinfo_for_ever,
     [](pthread_t thread) { pthread_sigqueue(thread, SIGRTMIN + 2, sigval{.sival_int = 77}); }},
    {"pause", pause_for_ever, signal_it},
    {"sigsuspend", suspend_for_ever, signal_it},
    {"flock", flock_for_ever, [](pthread_t) { close(locked); }},
    {"integers", integers},
    {"blocked_integers", blocked_integers},
    {"doubles", doubles},
    {"wide", wide_where_there_is},
};

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_handler = [](int) {};
  sigaction(SIGUSR1, &action, nullptr);
  victim::block(SIG_BLOCK, {SIGRTMIN + 2});
  sem_init(&semaphore, 0, 0);
  locked = lock_file(LOCK_NB);
  if (locked < 0) victim::broken("lock");
  const char* only = getenv("VICTIM_ONLY");
  std::vector<std::pair<const state*, pthread_t>> threads;
  for (const state& each : states)
    if (!only || strcmp(only, each.name) == 0)
      threads.emplace_back(&each, victim::start([&each] {
        name = each.name;
        victim::arrive();
        each.body();
      }));
  victim::gather(static_cast<int>(threads.size()));
  usleep(20'000);  // they are where they want to be
  victim::work_until_stop();

  victim::tell_all();
  for (auto [each, thread] : threads) {
    if (each->end) each->end(thread);
    for (int tries = 0; tries < 2000 && each->end == signal_it; ++tries) {
      void* result = nullptr;
      if (pthread_tryjoin_np(thread, &result) == 0) {
        if (result != victim::well) lost("%s has not come to its end", each->name);
        break;
      }
      usleep(5000);
      each->end(thread);
      if (tries == 1999) lost("%s does not end", each->name);
    }
    if (each->end != signal_it) victim::join_well(thread, each->name);
  }
  return victim::finish();
}
