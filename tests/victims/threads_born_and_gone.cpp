// SPDX-License-Identifier: MIT
// Threads are made, joined, left alone and ended as fast as it goes: the checkpoint falls into
// their births and deaths. None is lost and none runs twice.
//
// Fidelity: thread | threads just being born, just ending, detached | kept
#include "threads.hpp"

namespace {

std::atomic<uint64_t> made{0}, ran{0}, left_alone{0};

void* short_life(void* argument) {
  ++ran;
  return reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(argument) * 3 + 1);
}

void check(pthread_t thread, uintptr_t number) {
  void* result = nullptr;
  int error = pthread_join(thread, &result);
  if (error != 0 || reinterpret_cast<uintptr_t>(result) != number * 3 + 1)
    victim::lost("pthread_join: %s, %p instead of %#lx", strerror(error), result, number * 3 + 1);
}

bool make(pthread_t& thread, const pthread_attr_t* attributes, uintptr_t number) {
  int error = pthread_create(&thread, attributes, short_life, reinterpret_cast<void*>(number));
  if (error == 0) {
    ++made;
    return true;
  }
  // EAGAIN: more detached ones than the machine takes.
  if (error != EAGAIN) victim::lost("pthread_create: %s", strerror(error));
  return false;
}

void one_by_one() {
  for (uintptr_t i = 0; victim::stopping == 0; ++i)
    if (pthread_t thread; make(thread, nullptr, i)) check(thread, i);
}
void eight_at_a_time() {
  for (uintptr_t i = 0; victim::stopping == 0; i += 8) {
    pthread_t threads[8];
    bool there[8];
    for (uintptr_t j = 0; j < 8; ++j) there[j] = make(threads[j], nullptr, i + j);
    for (uintptr_t j = 8; j-- != 0;)
      if (there[j]) check(threads[j], i + j);
  }
}
void detached() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  while (victim::stopping == 0) {
    pthread_t thread;
    if (made - ran < 50 && make(thread, &attributes, 1)) ++left_alone;
    if (left_alone % 16 == 0) sched_yield();
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  const pthread_t makers[] = {victim::start(one_by_one), victim::start(eight_at_a_time),
                              victim::start(detached)};
  victim::rest_until_stop();
  const uint64_t before = made;
  for (int tries = 0; made < before + 100 && tries < 5000; ++tries) usleep(1000);
  if (made < before + 100) victim::lost("no threads are made any more");
  victim::tell_all();
  for (pthread_t maker : makers) victim::join_well(maker, "a maker of threads");
  for (int tries = 0; made != ran && tries < 5000; ++tries) usleep(1000);
  victim::expect_equal("threads that ran", made, ran);
  return victim::finish();
}
