// SPDX-License-Identifier: MIT
// Restartable sequences: the kernel goes on writing the CPU's number into the thread's area, so
// that sched_getcpu, which reads it there, agrees with the system call from the first moment on.
//
// Fidelity: thread | restartable sequences (rseq) | kept
#include <sched.h>
#include <sys/syscall.h>

#include "victim.hpp"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define VICTIM_HAS_RSEQ 1
#endif

int main(int count, char** values) {
  victim::begin(count, values);
#ifdef VICTIM_HAS_RSEQ
  if (__rseq_size == 0) victim::skip("glibc has not registered rseq");
  cpu_set_t all;
  sched_getaffinity(0, sizeof all, &all);
  int cpus[CPU_SETSIZE], known = 0;
  for (int i = 0; i < CPU_SETSIZE; ++i)
    if (CPU_ISSET(i, &all)) cpus[known++] = i;
  victim::ready();
  for (unsigned turn = 0; !victim::stop_requested(); ++turn) {
    int cpu = cpus[turn % static_cast<unsigned>(known)];
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    int disagreements = 0;
    for (int i = 0; i < 200; ++i) {
      if (i % 50 == 0) sched_setaffinity(0, sizeof one, &one);
      unsigned actual = 0;
      syscall(SYS_getcpu, &actual, nullptr, nullptr);
      // Between the two calls the thread may move, once; it does not do so every time.
      if (sched_getcpu() != static_cast<int>(actual)) ++disagreements;
    }
    if (disagreements > 3) victim::lost("sched_getcpu was wrong %d times of 200", disagreements);
  }
  auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  // Registering the same area again answers EBUSY when it is registered, and succeeds when not.
  long again = syscall(SYS_rseq, area, 32, 0, RSEQ_SIG);
  if (again == 0 || errno != EBUSY)
    victim::lost("rseq is not registered: %ld, errno %d", again, errno);
  return victim::finish();
#else
  victim::skip("this libc knows no rseq");
#endif
}
