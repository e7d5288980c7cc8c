// SPDX-License-Identifier: MIT
// Another C library's threads: locks held and waited for, conditions, a barrier, thread-local
// storage, joins, cancellation, keys, and threads made afterwards.
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>

#include "plain.h"

static volatile int arrived, stopping;
static _Thread_local uint64_t local_value = 0x77, local_zero;
static pthread_mutex_t gate_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate = PTHREAD_COND_INITIALIZER;
static pthread_key_t key;
static volatile int destroyed, cleaned, signals;

static void arrive(void) {
  __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
}

static void wait_for_stop(void) {
  pthread_mutex_lock(&gate_mutex);
  while (!stopping) expect("pthread_cond_wait", pthread_cond_wait(&gate, &gate_mutex) == 0);
  pthread_mutex_unlock(&gate_mutex);
}

// --- mutexes
// --------------------------------------------------------------------------------------
struct guarded {
  const char* name;
  int type, robust, inherits;
  pthread_mutex_t mutex;
  volatile int held, given_up;
};
static struct guarded mutexes[] = {
    {.name = "normal mutex", .type = PTHREAD_MUTEX_NORMAL},
    {.name = "recursive mutex", .type = PTHREAD_MUTEX_RECURSIVE},
    {.name = "error-checking mutex", .type = PTHREAD_MUTEX_ERRORCHECK},
    {.name = "robust mutex", .type = PTHREAD_MUTEX_ERRORCHECK, .robust = 1},
    {.name = "robust recursive mutex", .type = PTHREAD_MUTEX_RECURSIVE, .robust = 1},
    {.name = "inheriting mutex", .type = PTHREAD_MUTEX_ERRORCHECK, .inherits = 1},
};
enum { mutex_count = sizeof mutexes / sizeof *mutexes };

static void* hold(void* argument) {
  struct guarded* own = argument;
  expect(own->name, pthread_mutex_lock(&own->mutex) == 0);
  if (own->type == PTHREAD_MUTEX_RECURSIVE) expect(own->name, pthread_mutex_lock(&own->mutex) == 0);
  own->held = 1;
  arrive();
  wait_for_stop();
  if (own->type == PTHREAD_MUTEX_RECURSIVE) {
    expect(own->name, pthread_mutex_lock(&own->mutex) == 0);
    expect(own->name, pthread_mutex_unlock(&own->mutex) == 0);
    expect(own->name, pthread_mutex_unlock(&own->mutex) == 0);
  } else if (own->type == PTHREAD_MUTEX_ERRORCHECK) {
    expect(own->name, pthread_mutex_lock(&own->mutex) == EDEADLK);
  }
  own->given_up = 1;
  if (!own->robust) expect(own->name, pthread_mutex_unlock(&own->mutex) == 0);
  return NULL;
}

static void* want(void* argument) {
  struct guarded* own = argument;
  while (!own->held) usleep(200);
  arrive();
  const int error = pthread_mutex_lock(&own->mutex);
  expect(own->name, own->given_up);
  expect(own->name, error == (own->robust ? EOWNERDEAD : 0));
  if (own->robust) expect(own->name, pthread_mutex_consistent(&own->mutex) == 0);
  expect(own->name, pthread_mutex_unlock(&own->mutex) == 0);
  return NULL;
}

// --- the others
// -----------------------------------------------------------------------------------
static pthread_barrier_t barrier;
static void* at_barrier(void* argument) {
  (void)argument;
  arrive();
  const int result = pthread_barrier_wait(&barrier);
  expect("pthread_barrier_wait", result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
  expect("the barrier opened too early", stopping);
  return NULL;
}

static sem_t semaphore;
static void* at_semaphore(void* argument) {
  (void)argument;
  arrive();
  expect("sem_wait", sem_wait(&semaphore) == 0);
  expect("sem_wait ended too early", stopping);
  return NULL;
}

static void* with_values(void* argument) {
  local_value += (uintptr_t)argument;
  pthread_setspecific(key, (void*)0x1234);
  arrive();
  wait_for_stop();
  expect("thread-local value", local_value == 0x77 + (uintptr_t)argument);
  expect("thread-local zero", local_zero == 0);
  expect("the value of a key", pthread_getspecific(key) == (void*)0x1234);
  return (void*)(local_value * 3);
}

static void* in_join(void* argument) {
  pthread_t other;
  void* result = NULL;
  (void)argument;
  expect("pthread_create", pthread_create(&other, NULL, with_values, (void*)8) == 0);
  expect("pthread_join", pthread_join(other, &result) == 0 && result == (void*)((0x77 + 8) * 3));
  return NULL;
}

static void* timed(void* argument) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
  (void)argument;
  arrive();
  while (!stopping) {
    struct timespec limit, ended;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_nsec += 60000000;
    if (limit.tv_nsec >= 1000000000) limit.tv_nsec -= 1000000000, ++limit.tv_sec;
    pthread_mutex_lock(&mutex);
    expect("pthread_cond_timedwait",
           pthread_cond_timedwait(&condition, &mutex, &limit) == ETIMEDOUT);
    pthread_mutex_unlock(&mutex);
    clock_gettime(CLOCK_REALTIME, &ended);
    expect("pthread_cond_timedwait ended too early",
           ended.tv_sec > limit.tv_sec ||
               (ended.tv_sec == limit.tv_sec && ended.tv_nsec >= limit.tv_nsec));
  }
  return NULL;
}

static void clean(void* argument) {
  (void)argument;
  __atomic_add_fetch(&cleaned, 1, __ATOMIC_SEQ_CST);
}
static void* cancelled_asleep(void* argument) {
  (void)argument;
  pthread_cleanup_push(clean, NULL);
  arrive();
  while (1) sleep(1000);
  pthread_cleanup_pop(0);
  return NULL;
}
static void* cancelled_anywhere(void* argument) {
  static volatile uint64_t sink;
  (void)argument;
  pthread_cleanup_push(clean, NULL);
  pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
  arrive();
  while (1) sink = sink + 1;
  pthread_cleanup_pop(0);
  return NULL;
}

static void destroy(void* value) {
  if (value == (void*)0x1234) __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
}
static void on_signal(int number) {
  (void)number;
  __atomic_add_fetch(&signals, 1, __ATOMIC_SEQ_CST);
}

static pthread_t begin(void* (*body)(void*), void* argument) {
  pthread_t thread;
  if (pthread_create(&thread, NULL, body, argument) != 0) {
    say("broken: pthread_create\n");
    _exit(2);
  }
  return thread;
}

int main(int count, char** values) {
  pthread_t threads[32];
  int used = 0, own = 0;
  if (count < 2) return 2;
  signal(SIGUSR1, on_signal);
  pthread_key_create(&key, destroy);
  pthread_barrier_init(&barrier, NULL, 4);
  sem_init(&semaphore, 0, 0);
  for (int i = 0; i < mutex_count; ++i) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, mutexes[i].type);
    if (mutexes[i].robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (mutexes[i].inherits) pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&mutexes[i].mutex, &attributes);
    threads[used++] = begin(hold, &mutexes[i]);
    threads[used++] = begin(want, &mutexes[i]);
  }
  for (int i = 0; i < 3; ++i) threads[used++] = begin(at_barrier, NULL);
  for (int i = 0; i < 2; ++i) threads[used++] = begin(at_semaphore, NULL);
  threads[used++] = begin(in_join, NULL);
  threads[used++] = begin(timed, NULL);
  own = used;
  for (uintptr_t i = 0; i < 4; ++i) threads[used++] = begin(with_values, (void*)i);
  pthread_t asleep = begin(cancelled_asleep, NULL), anywhere = begin(cancelled_anywhere, NULL);
  while (arrived < used + 2) usleep(500);
  say("ready\n");
  while (access(values[1], F_OK) != 0) usleep(1000);

  expect("pthread_kill", pthread_kill(threads[own], SIGUSR1) == 0);
  for (int tries = 0; signals == 0 && tries < 5000; ++tries) usleep(1000);
  expect("a signal for a thread", signals == 1);
  pthread_mutex_lock(&gate_mutex);
  stopping = 1;
  pthread_cond_broadcast(&gate);
  pthread_mutex_unlock(&gate_mutex);
  at_barrier(NULL);
  for (int i = 0; i < 2; ++i) sem_post(&semaphore);
  for (int i = 0; i < used; ++i) {
    void* result = NULL;
    expect("pthread_join", pthread_join(threads[i], &result) == 0);
    if (i >= own)
      expect("what a thread returns", result == (void*)(uintptr_t)((0x77 + i - own) * 3));
  }
  expect("destroyed values of a key", destroyed == 5);
  void* result = NULL;
  expect("pthread_cancel", pthread_cancel(asleep) == 0 && pthread_cancel(anywhere) == 0);
  expect("a cancelled thread", pthread_join(asleep, &result) == 0 && result == PTHREAD_CANCELED);
  expect("a cancelled thread", pthread_join(anywhere, &result) == 0 && result == PTHREAD_CANCELED);
  expect("clean-ups", cleaned == 2);
  stopping = 1;
  for (uintptr_t i = 0; i < 8; ++i) {
    pthread_t fresh = begin(with_values, (void*)i);
    expect("a thread made afterwards",
           pthread_join(fresh, &result) == 0 && result == (void*)((0x77 + i) * 3));
  }
  if (losses == 0) say("ok\n");
  return losses == 0 ? 0 : 1;
}
