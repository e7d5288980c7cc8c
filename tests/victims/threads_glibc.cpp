// SPDX-License-Identifier: MIT
// What glibc builds on threads, in use when the checkpoint comes: mutexes of every kind held and
// waited for, conditions, barriers, locks for readers and writers, semaphores, joins, keys; and
// cancellation afterwards of threads that began before. VICTIM_ONLY=NAME leaves the others out.
//
// Fidelity: thread | mutexes held and waited for: normal, recursive, error-checking, adaptive, robust (EOWNERDEAD arrives), priority-inheriting, priority-protecting, shared | kept
// Fidelity: thread | conditions, barriers, read-write locks, semaphores, pthread_join, keys, pthread_cancel (deferred and asynchronous), pthread_once | kept
// Fidelity: thread | destructors on the way when a thread of a static program is cancelled in a wait with a time limit that the checkpoint fell into: the unwinder of such a program does not know code of the agent | lost
#include <semaphore.h>

#include <vector>

#include "sleeping.hpp"
#include "threads.hpp"

namespace {

using victim::expect_done;
using victim::lost;
using victim::must;
using victim::start;
using victim::stopping;

const char* only;
int wanted_arrivals;
bool asked_for(const char* name) {
  return !only || strcmp(only, name) == 0;
}

struct running {
  const char* name;
  pthread_t thread;
};
std::vector<running> threads;
template <class Body>
void add(const char* name, Body body) {
  ++wanted_arrivals;
  threads.push_back({name, start([body] {
                       victim::arrive();
                       body();
                     })});
}

// --- mutexes: one thread holds, one waits
// ---------------------------------------------------------
struct kind {
  const char* name;
  int type;
  bool robust, inherits, protects, shared;
};
constexpr kind kinds[] = {
    {"normal mutex", PTHREAD_MUTEX_NORMAL, false, false, false, false},
    {"recursive mutex", PTHREAD_MUTEX_RECURSIVE, false, false, false, false},
    {"error-checking mutex", PTHREAD_MUTEX_ERRORCHECK, false, false, false, false},
    {"adaptive mutex", PTHREAD_MUTEX_ADAPTIVE_NP, false, false, false, false},
    {"robust mutex", PTHREAD_MUTEX_NORMAL, true, false, false, false},
    {"robust recursive mutex", PTHREAD_MUTEX_RECURSIVE, true, false, false, false},
    {"inheriting mutex", PTHREAD_MUTEX_NORMAL, false, true, false, false},
    {"inheriting recursive mutex", PTHREAD_MUTEX_RECURSIVE, false, true, false, false},
    {"inheriting error-checking mutex", PTHREAD_MUTEX_ERRORCHECK, false, true, false, false},
    {"robust inheriting mutex", PTHREAD_MUTEX_ERRORCHECK, true, true, false, false},
    {"shared mutex", PTHREAD_MUTEX_ERRORCHECK, false, false, false, true},
    {"shared robust mutex", PTHREAD_MUTEX_RECURSIVE, true, false, false, true},
};

struct guarded {
  pthread_mutex_t mutex;
  std::atomic<int> held{0};
  bool given_up = false;
};

void hold(const kind& its, guarded& own) {
  must(pthread_mutex_lock(&own.mutex), its.name);
  if (its.type == PTHREAD_MUTEX_RECURSIVE) must(pthread_mutex_lock(&own.mutex), its.name);
  victim::set_word(own.held, 1);
  victim::wait_for_stop();
  // It is still its owner's, and its owner still knows.
  if (its.type == PTHREAD_MUTEX_RECURSIVE) {
    expect_done(pthread_mutex_lock(&own.mutex), its.name);
    expect_done(pthread_mutex_unlock(&own.mutex), its.name);
    expect_done(pthread_mutex_unlock(&own.mutex), its.name);
  } else if (its.type == PTHREAD_MUTEX_ERRORCHECK) {
    int error = pthread_mutex_lock(&own.mutex);
    if (error != EDEADLK) lost("%s: locked twice: %s", its.name, strerror(error));
  }
  own.given_up = true;
  if (!its.robust) expect_done(pthread_mutex_unlock(&own.mutex), its.name);
}

void want(const kind& its, guarded& own) {
  victim::wait_while(own.held, 0);
  if (pthread_mutex_trylock(&own.mutex) != EBUSY) lost("%s: is free", its.name);
  if (its.type == PTHREAD_MUTEX_ERRORCHECK && pthread_mutex_unlock(&own.mutex) != EPERM)
    lost("%s: anybody may unlock it", its.name);
  int error = pthread_mutex_lock(&own.mutex);
  if (!own.given_up) lost("%s: two have it", its.name);
  if (its.robust) {
    if (error != EOWNERDEAD) lost("%s: %s", its.name, strerror(error));
    expect_done(pthread_mutex_consistent(&own.mutex), its.name);
  } else {
    expect_done(error, its.name);
  }
  expect_done(pthread_mutex_unlock(&own.mutex), its.name);
}

void add_mutex(const kind& its) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  must(pthread_mutexattr_settype(&attributes, its.type), "settype");
  if (its.robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  if (its.inherits) must(pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT), "prio");
  if (its.shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  auto* own = new guarded;
  must(pthread_mutex_init(&own->mutex, &attributes), "pthread_mutex_init");
  add(its.name, [&its, own] { hold(its, *own); });
  add(its.name, [&its, own] { want(its, *own); });
}

// --- conditions
// -----------------------------------------------------------------------------------
struct meeting {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  int tokens = 0;
};
meeting one_each, all_at_once, nobody;

void take_token() {
  pthread_mutex_lock(&one_each.mutex);
  while (one_each.tokens == 0)
    expect_done(pthread_cond_wait(&one_each.condition, &one_each.mutex), "pthread_cond_wait");
  --one_each.tokens;
  pthread_mutex_unlock(&one_each.mutex);
}
void go_through() {
  pthread_mutex_lock(&all_at_once.mutex);
  while (all_at_once.tokens == 0)
    expect_done(pthread_cond_wait(&all_at_once.condition, &all_at_once.mutex), "pthread_cond_wait");
  pthread_mutex_unlock(&all_at_once.mutex);
}
template <class Wait>
void wait_in_vain(clockid_t clock, const char* name, Wait wait) {
  while (!stopping)
    victim::sleep_once(
        name,
        [&] {
          timespec time{};
          clock_gettime(clock, &time);
          time.tv_nsec += victim::nap + 1000;
          time.tv_sec += time.tv_nsec / 1'000'000'000;
          time.tv_nsec %= 1'000'000'000;
          pthread_mutex_lock(&nobody.mutex);
          int error = wait(&time);
          pthread_mutex_unlock(&nobody.mutex);
          return (errno = error) == ETIMEDOUT;
        },
        clock);
}
void timed_real() {
  wait_in_vain(CLOCK_REALTIME, "pthread_cond_timedwait", [](const timespec* time) {
    return pthread_cond_timedwait(&nobody.condition, &nobody.mutex, time);
  });
}
void timed_monotonic() {
  wait_in_vain(CLOCK_MONOTONIC, "pthread_cond_clockwait", [](const timespec* time) {
    return pthread_cond_clockwait(&nobody.condition, &nobody.mutex, CLOCK_MONOTONIC, time);
  });
}

// --- barrier, read-write locks, semaphore, join
// ---------------------------------------------------
pthread_barrier_t barrier;
std::atomic<int> serial{0};
void at_barrier() {
  int result = pthread_barrier_wait(&barrier);
  if (result == PTHREAD_BARRIER_SERIAL_THREAD)
    ++serial;
  else
    expect_done(result, "pthread_barrier_wait");
  if (!stopping) lost("the barrier opened too early");
}

pthread_rwlock_t written = PTHREAD_RWLOCK_INITIALIZER, read_by = PTHREAD_RWLOCK_INITIALIZER;
std::atomic<int> writing{0}, reading{0};
void hold_written() {
  must(pthread_rwlock_wrlock(&written), "wrlock");
  victim::set_word(writing, 1);
  victim::wait_for_stop();
  int error = pthread_rwlock_wrlock(&written);
  if (error != EDEADLK) lost("a writer's lock taken twice: %s", strerror(error));
  expect_done(pthread_rwlock_unlock(&written), "unlock of a writer");
}
void wait_to_read() {
  victim::wait_while(writing, 0);
  expect_done(pthread_rwlock_rdlock(&written), "rdlock");
  if (!stopping) lost("a reader beside a writer");
  expect_done(pthread_rwlock_unlock(&written), "unlock of a reader");
}
void hold_read() {
  must(pthread_rwlock_rdlock(&read_by), "rdlock");
  ++reading;
  victim::wait_for_stop();
  expect_done(pthread_rwlock_unlock(&read_by), "unlock of a reader");
}
void wait_to_write() {
  while (reading != 2) usleep(200);
  expect_done(pthread_rwlock_wrlock(&read_by), "wrlock");
  if (!stopping) lost("a writer beside readers");
  expect_done(pthread_rwlock_unlock(&read_by), "unlock of a writer");
}

sem_t tokens;
void take_from_semaphore() {
  if (sem_wait(&tokens) != 0) lost("sem_wait: errno %d", errno);
}
void in_join() {
  pthread_t other = start([] {
    victim::wait_for_stop();
    return reinterpret_cast<void*>(0x77);
  });
  void* result = nullptr;
  expect_done(pthread_join(other, &result), "pthread_join");
  if (result != reinterpret_cast<void*>(0x77)) lost("what pthread_join says: %p", result);
  if (!stopping) lost("pthread_join came back too early");
}

pthread_key_t key;
pthread_once_t once = PTHREAD_ONCE_INIT;
std::atomic<int> destroyed{0}, initialised{0};
void with_key() {
  pthread_setspecific(key, reinterpret_cast<void*>(0x1234));
  pthread_once(&once, [] { ++initialised; });
  victim::wait_for_stop();
  pthread_once(&once, [] { ++initialised; });
  if (pthread_getspecific(key) != reinterpret_cast<void*>(0x1234)) lost("the value of a key");
}

// --- cancellation
// ---------------------------------------------------------------------------------
std::atomic<int> cleaned{0};
void clean(void* argument) {
  if (argument == &cleaned) ++cleaned;
}
template <class Body>
pthread_t cancellable(Body body) {
  ++wanted_arrivals;
  return start([body] {
    pthread_cleanup_push(clean, &cleaned);
    victim::arrive();
    body();
    pthread_cleanup_pop(0);
  });
}
std::vector<running> to_cancel;

void add_cancelled() {
  to_cancel.push_back({"cancelled in read", cancellable([] {
                         int fds[2];
                         if (pipe(fds) != 0) victim::broken("pipe");
                         char byte;
                         (void)!read(fds[0], &byte, 1);
                         lost("a read that is cancelled ends");
                       })});
  to_cancel.push_back({"cancelled in sem_wait", cancellable([] {
                         sem_t semaphore;
                         sem_init(&semaphore, 0, 0);
                         sem_wait(&semaphore);
                         lost("a sem_wait that is cancelled ends");
                       })});
#ifndef VICTIM_STATIC  // see the last line of Fidelity
  to_cancel.push_back({"cancelled in nanosleep", cancellable([] {
                         const timespec hour{3600, 0};
                         nanosleep(&hour, nullptr);
                         lost("a nanosleep that is cancelled ends");
                       })});
#endif
  to_cancel.push_back({"cancelled in pthread_cond_wait", cancellable([] {
                         pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
                         pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
                         pthread_mutex_lock(&mutex);
                         while (true) pthread_cond_wait(&condition, &mutex);
                       })});
  to_cancel.push_back({"cancelled at a test", cancellable([] {
                         while (true) pthread_testcancel();
                       })});
  to_cancel.push_back({"cancelled anywhere", cancellable([] {
                         pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, nullptr);
                         // Called so that the compiler expects anything to come out of it.
                         void (*volatile spin)() = [] {
                           static volatile uint64_t sink;
                           while (true) sink = sink + 1;
                         };
                         spin();
                       })});
}
// Asked before the checkpoint, allowed to happen after it.
pthread_t cancelled_early;
void add_cancelled_early() {
  cancelled_early = cancellable([] {
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
    victim::wait_for_stop();
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
    pthread_testcancel();
    lost("a cancellation that waited is gone");
  });
  must(pthread_cancel(cancelled_early), "pthread_cancel");
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  only = getenv("VICTIM_ONLY");
  must(pthread_key_create(&key,
                          [](void* value) {
                            if (value == reinterpret_cast<void*>(0x1234)) ++destroyed;
                          }),
       "pthread_key_create");
  pthread_barrier_init(&barrier, nullptr, 4);
  sem_init(&tokens, 0, 0);
  for (const kind& each : kinds)
    if (asked_for(each.name)) add_mutex(each);
  if (asked_for("conditions")) {
    for (int i = 0; i < 3; ++i) add("a waiter for one token", take_token);
    for (int i = 0; i < 3; ++i) add("a waiter for all", go_through);
    add("timed", timed_real);
    add("timed", timed_monotonic);
  }
  if (asked_for("barrier"))
    for (int i = 0; i < 3; ++i) add("at the barrier", at_barrier);
  if (asked_for("read-write")) {
    add("a writer", hold_written);
    add("a waiting reader", wait_to_read);
    add("a waiting reader", wait_to_read);
    add("a reader", hold_read);
    add("a reader", hold_read);
    add("a waiting writer", wait_to_write);
  }
  if (asked_for("semaphore"))
    for (int i = 0; i < 3; ++i) add("at a semaphore", take_from_semaphore);
  if (asked_for("join")) add("in join", in_join);
  if (asked_for("key")) {
    add("with a key", with_key);
    add("with a key", with_key);
  }
  if (asked_for("cancel")) {
    add_cancelled();
    add_cancelled_early();
  }
  victim::gather(wanted_arrivals);
  usleep(20'000);
  victim::rest_until_stop();

  victim::tell_all();
  if (asked_for("conditions")) {
    for (int i = 0; i < 3; ++i) {
      pthread_mutex_lock(&one_each.mutex);
      ++one_each.tokens;
      pthread_cond_signal(&one_each.condition);
      pthread_mutex_unlock(&one_each.mutex);
    }
    pthread_mutex_lock(&all_at_once.mutex);
    all_at_once.tokens = 1;
    pthread_cond_broadcast(&all_at_once.condition);
    pthread_mutex_unlock(&all_at_once.mutex);
  }
  if (asked_for("barrier")) at_barrier();
  if (asked_for("semaphore"))
    for (int i = 0; i < 3; ++i) sem_post(&tokens);
  for (const running& each : threads) victim::join_well(each.thread, each.name);
  if (asked_for("barrier")) victim::expect_equal("serial threads", 1, serial.load());
  if (asked_for("key")) {
    victim::expect_equal("destroyed values of a key", 2, destroyed.load());
    victim::expect_equal("runs of pthread_once", 1, initialised.load());
  }
  if (asked_for("cancel")) {
    for (const running& each : to_cancel) {
      expect_done(pthread_cancel(each.thread), each.name);
      if (victim::join(each.thread, each.name) != PTHREAD_CANCELED) lost("%s: was not", each.name);
    }
    if (victim::join(cancelled_early, "cancelled early") != PTHREAD_CANCELED)
      lost("cancelled early: was not");
    victim::expect_equal("clean-ups", to_cancel.size() + 1, cleaned.load());
  }
  return victim::finish();
}
