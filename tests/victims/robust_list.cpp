// SPDX-License-Identifier: MIT
// What the kernel does when a thread ends: its robust list and the word it clears, and that the
// C library still knows which thread it is.
//
// Fidelity: thread | robust list, clear_child_tid, thread id known to the C library | kept
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "victim.hpp"

static volatile int seen;

int main(int count, char** values) {
  victim::begin(count, values);
  robust_list_head *head = nullptr, *head_after = nullptr;
  size_t length = 0, length_after = 0;
  if (syscall(SYS_get_robust_list, 0, &head, &length) != 0) victim::broken("get_robust_list");
  int *clear = nullptr, *clear_after = nullptr;
  bool has_clear = prctl(PR_GET_TID_ADDRESS, &clear) == 0;
  signal(SIGUSR1, [](int) { seen = seen + 1; });
  victim::work_until_stop();

  syscall(SYS_get_robust_list, 0, &head_after, &length_after);
  victim::expect_equal("robust list", reinterpret_cast<uintptr_t>(head),
                       reinterpret_cast<uintptr_t>(head_after));
  victim::expect_equal("its length", length, length_after);
  if (has_clear && prctl(PR_GET_TID_ADDRESS, &clear_after) == 0) {
    victim::expect_equal("clear_child_tid", reinterpret_cast<uintptr_t>(clear),
                         reinterpret_cast<uintptr_t>(clear_after));
    victim::expect_equal("the cached thread id", static_cast<uint64_t>(gettid()),
                         static_cast<uint64_t>(*clear_after));
  }
  // Both take the thread id from where the library keeps it.
  if (raise(SIGUSR1) != 0 || seen != 1) victim::lost("raise does not reach this thread");
  if (pthread_kill(pthread_self(), SIGUSR1) != 0 || seen != 2)
    victim::lost("pthread_kill does not reach this thread");
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
  pthread_mutex_t mutex;
  pthread_mutex_init(&mutex, &attributes);
  if (pthread_mutex_lock(&mutex) != 0 || pthread_mutex_lock(&mutex) != EDEADLK ||
      pthread_mutex_unlock(&mutex) != 0)
    victim::lost("an error-checking mutex");
  return victim::finish();
}
