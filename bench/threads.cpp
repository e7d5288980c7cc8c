// SPDX-License-Identifier: MIT
//
// A program with threads and 16 MiB: one thread, begun last, watches the clock, the others wait in
// a futex (idle) or watch it as well (busy). Whoever watches notes when; the longest time in which
// nobody did is the pause. SIGUSR1 asks for it: two moments (CLOCK_MONOTONIC, nanoseconds), and it
// begins afresh. Once its standard output is another, it has been restarted: it says when the first
// of them ran again, ends all, and says whether memory is as it was.
//
//   threads COUNT idle|busy
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

namespace {

std::atomic<std::int64_t> last{0}, longest{0}, began{0}, ended{0};
std::atomic<int> stopping{0}, running{0};
bool busy;
ino_t standard_output;
pthread_t first;

std::int64_t now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

ino_t output() {
  struct stat found {};
  fstat(1, &found);
  return found.st_ino;
}

std::int64_t look() {
  const std::int64_t at = now();
  std::int64_t before = last;
  // Who has lost the processor since it looked at the clock has nothing new to say.
  while (before < at && !last.compare_exchange_weak(before, at)) {
  }
  if (before != 0 && at - before > longest) {
    longest = at - before;
    began = before;
    ended = at;
  }
  return at;
}

void* other(void*) {
  ++running;
  while (stopping == 0) {
    if (busy)
      look();
    else
      syscall(SYS_futex, &stopping, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  }
  return nullptr;
}

void* watcher(void*) {
  ++running;
  while (stopping == 0) {
    look();
    if (output() == standard_output) continue;
    std::printf("%lld\n", static_cast<long long>(ended));
    std::fflush(stdout);
    stopping = 1;
    syscall(SYS_futex, &stopping, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
    pthread_kill(first, SIGUSR1);
  }
  return nullptr;
}

std::uint64_t sum(const std::uint64_t* words, std::size_t count) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total = total * 31 + words[i];
  return total;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const int count = std::atoi(argv[1]);
  busy = std::strcmp(argv[2], "busy") == 0;
  constexpr std::size_t size = 16 << 20, word_count = size / sizeof(std::uint64_t);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* words = static_cast<std::uint64_t*>(memory);
  std::uint64_t x = 88172645463325252;
  for (std::size_t i = 0; i < word_count; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    words[i] = x;
  }
  const std::uint64_t before = sum(words, word_count);
  standard_output = output();
  first = pthread_self();
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &asked, nullptr);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  // The first thread, which takes the trigger, and the watcher are two of them.
  std::vector<pthread_t> threads;
  for (int i = 0; i < count - 1; ++i) {
    pthread_t thread;
    if (pthread_create(&thread, &attributes, i == count - 2 ? watcher : other, nullptr) != 0)
      return 1;
    threads.push_back(thread);
  }
  while (running < count - 1) usleep(1000);
  std::puts("ready");
  std::fflush(stdout);
  while (count == 1 && output() == standard_output) {
    // Alone: it watches by itself, and is asked by the trigger's way only.
    look();
    siginfo_t info{};
    const timespec none{};
    if (sigtimedwait(&asked, &info, &none) != SIGUSR1) continue;
    std::printf("%lld %lld\n", static_cast<long long>(began), static_cast<long long>(ended));
    std::fflush(stdout);
    longest = 0;
  }
  if (count == 1) {
    look();
    std::printf("%lld\n", static_cast<long long>(ended));
    stopping = 1;
  }
  while (stopping == 0) {
    int number = 0;
    sigwait(&asked, &number);
    if (stopping != 0) break;
    std::printf("%lld %lld\n", static_cast<long long>(began), static_cast<long long>(ended));
    std::fflush(stdout);
    longest = 0;
  }
  for (pthread_t thread : threads) pthread_join(thread, nullptr);
  std::puts(sum(words, word_count) == before ? "right" : "wrong");
  return 0;
}
