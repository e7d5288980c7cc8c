// SPDX-License-Identifier: MIT
// Victims with several threads: each sets its own state up and says that it has; the main thread
// looks for the stop file and tells the others.
#pragma once

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include <type_traits>

#include "victim.hpp"

namespace victim {

inline std::atomic<int> stopping{0};
inline std::atomic<int> arrived{0};

// For functions that return an error number, in the set-up and afterwards.
inline void must(int error, const char* what) {
  errno = error;
  if (error != 0) broken(what);
}
inline void expect_done(int error, const char* what) {
  if (error != 0) lost("%s: %s", what, strerror(error));
}

// Sleeps until the word is another one. Nothing but a wake may end the sleep.
inline void wait_while(std::atomic<int>& word, int value) {
  while (word.load() == value)
    if (syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0) != 0 &&
        errno != EAGAIN)
      lost("futex: errno %d (%s)", errno, strerror(errno));
}
inline void set_word(std::atomic<int>& word, int value) {
  word = value;
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 0x7fffffff, nullptr, nullptr, 0);
}
inline void wait_for_stop() {
  wait_while(stopping, 0);
}

// What a thread returns whose body returns nothing and has come to its end.
inline void* const well = reinterpret_cast<void*>(0x600d);

// A thread that runs body(); what it returns, if anything, is for join.
template <class Body>
pthread_t start(Body body, const pthread_attr_t* attributes = nullptr) {
  pthread_t thread;
  auto* kept = new Body(static_cast<Body&&>(body));
  int error = pthread_create(
      &thread, attributes,
      [](void* argument) -> void* {
        auto* work = static_cast<Body*>(argument);
        if constexpr (std::is_void_v<decltype((*work)())>) {
          (*work)();
          delete work;
          return well;
        } else {
          void* result = (*work)();
          delete work;
          return result;
        }
      },
      kept);
  must(error, "pthread_create");
  return thread;
}

inline void arrive() {
  ++arrived;
}
inline void gather(int count) {
  while (arrived < count) usleep(500);
}

// The thread's value; one that does not end is named, and nobody can wait for it any more.
inline void* join(pthread_t thread, const char* name) {
  timespec limit{};
  clock_gettime(CLOCK_REALTIME, &limit);
  limit.tv_sec += 20;
  void* result = nullptr;
  int error = pthread_timedjoin_np(thread, &result, &limit);
  if (error != 0) {
    lost("%s does not end: %s", name, strerror(error));
    _exit(1);
  }
  return result;
}

inline void join_well(pthread_t thread, const char* name) {
  if (join(thread, name) != well) lost("%s has not come to its end", name);
}

inline void block(int how, std::initializer_list<int> numbers) {
  sigset_t set;
  sigemptyset(&set);
  for (int number : numbers) sigaddset(&set, number);
  must(pthread_sigmask(how, &set, nullptr), "pthread_sigmask");
}
inline void block_all() {
  sigset_t set;
  sigfillset(&set);
  must(pthread_sigmask(SIG_SETMASK, &set, nullptr), "pthread_sigmask");
}

// For the main thread, when all have arrived.
inline void rest_until_stop() {
  ready();
  while (!stop_requested())
    if (usleep(1000) != 0) lost("usleep: errno %d (%s)", errno, strerror(errno));
}
inline void tell_all() {
  set_word(stopping, 1);
}

}  // namespace victim
