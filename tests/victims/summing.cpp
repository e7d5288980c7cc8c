// SPDX-License-Identifier: MIT
// Six threads that check their own sums all the time and rest in between, so that it can run for hours
// beside other work: two compute, two sleep and look at the clock, two pass words through pipes. Whoever
// borrows one of them must give back every register, call and byte.
#include <vector>

#include "threads.hpp"

namespace {

constexpr int64_t rest_ns = 2'000'000;

uint64_t sum_of(uint64_t seed) {
  uint64_t a = seed | 1, b = ~seed;
  double x = 1, y = 1;
  for (int i = 0; i < 20'000; ++i) {
    a = a * 6364136223846793005u + 1442695040888963407u;
    b ^= a >> 7;
    b = b << 9 | b >> 55;
    x = x * 1.0000001 + 1e-9;
    y += x / (1 + static_cast<double>(a >> 60));
  }
  uint64_t bits = 0;
  memcpy(&bits, &y, sizeof bits);
  return a ^ b ^ bits;
}

void rest() {
  const timespec time{0, rest_ns};
  const int64_t before = victim::now();
  const int error = clock_nanosleep(CLOCK_MONOTONIC, 0, &time, nullptr);
  if (error != 0) victim::lost("a sleep ends with %s", strerror(error));
  if (const int64_t slept = victim::now() - before; slept < rest_ns)
    victim::lost("a sleep of %lld ns", static_cast<long long>(slept));
}

void compute(unsigned i) {
  const uint64_t wanted = sum_of(i);
  victim::arrive();
  while (victim::stopping == 0) {
    if (const uint64_t got = sum_of(i); got != wanted)
      victim::lost("thread %u: %#llx and not %#llx", i, static_cast<unsigned long long>(got),
                   static_cast<unsigned long long>(wanted));
    rest();
  }
}

void sleep_only() {
  victim::arrive();
  while (victim::stopping == 0) rest();
}

/// Each word comes back as it went, in order; the first of two threads rests.
void pass(int from, int to, bool first) {
  victim::arrive();
  for (uint64_t next = 0;; ++next) {
    uint64_t word = next;
    if (first) {
      if (victim::stopping != 0) word = ~uint64_t{0};
      if (write(to, &word, sizeof word) != sizeof word) victim::lost("a write: errno %d", errno);
      if (word == ~uint64_t{0}) return;
    }
    uint64_t got = 0;
    if (read(from, &got, sizeof got) != sizeof got) return victim::lost("a read: errno %d", errno);
    if (got == ~uint64_t{0}) return;
    if (got != next) victim::lost("word %llu comes as %llu", static_cast<unsigned long long>(next),
                                  static_cast<unsigned long long>(got));
    if (first)
      rest();
    else if (write(to, &got, sizeof got) != sizeof got)
      victim::lost("a write: errno %d", errno);
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) victim::broken("pipe");
  std::vector<pthread_t> running;
  for (unsigned i = 0; i < 2; ++i) running.push_back(victim::start([i] { compute(i + 1); }));
  for (unsigned i = 0; i < 2; ++i) running.push_back(victim::start(sleep_only));
  running.push_back(victim::start([&] { pass(back[0], there[1], true); }));
  running.push_back(victim::start([&] { pass(there[0], back[1], false); }));
  victim::gather(6);
  victim::ready();
  while (!victim::stop_requested()) rest();
  victim::tell_all();
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  return victim::finish();
}
