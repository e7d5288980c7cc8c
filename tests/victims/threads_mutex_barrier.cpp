// SPDX-License-Identifier: MIT
// Sixteen threads count under a recursive mutex, taken twice, and meet at a barrier after each
// step. The main thread leaves the trigger to them, so that it falls into their locking.
//
// Fidelity: thread | recursive mutexes and barriers in use | kept
#include "threads.hpp"

namespace {

constexpr unsigned threads = 16;
pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
pthread_barrier_t barrier;
uint64_t counted;
bool ended;

void locked(int error, const char* what) {
  if (error != 0) victim::lost("%s: %s", what, strerror(error));
}

void* body(unsigned) {
  victim::arrive();
  for (uint64_t step = 1;; ++step) {
    locked(pthread_mutex_lock(&mutex), "lock");
    locked(pthread_mutex_lock(&mutex), "lock again");
    ++counted;
    locked(pthread_mutex_unlock(&mutex), "unlock");
    locked(pthread_mutex_unlock(&mutex), "unlock again");
    if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) {
      victim::expect_equal("count", step * threads, counted);
      ended = victim::stopping != 0;
    }
    pthread_barrier_wait(&barrier);
    if (ended) return reinterpret_cast<void*>(step);
  }
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  pthread_barrier_init(&barrier, nullptr, threads);
  pthread_t running[threads];
  for (unsigned i = 0; i < threads; ++i) running[i] = victim::start([i] { return body(i); });
  victim::gather(threads);
  victim::block(SIG_BLOCK, {SIGTSTP});
  victim::rest_until_stop();
  victim::tell_all();
  uint64_t steps = 0;
  for (pthread_t thread : running) {
    auto own = reinterpret_cast<uint64_t>(victim::join(thread, "a thread"));
    if (steps != 0) victim::expect_equal("steps of a thread", steps, own);
    steps = own;
  }
  victim::expect_equal("count at the end", steps * threads, counted);
  return victim::finish();
}
