// SPDX-License-Identifier: MIT
// Eight threads, each with its own values in all registers and its own of everything that the
// kernel keeps for a thread and not for the process.
//
// Fidelity: thread | of each thread: general, SSE, AVX and x87 registers, MXCSR and control word, FS and GS base | kept
// Fidelity: thread | of each thread: signal mask, alternate stack, pending signals with values, name | kept
// Fidelity: thread | of each thread: nice, affinity, scheduling policy, I/O priority, timer slack, parent-death signal, no_new_privs, machine check policy, personality | kept
// Fidelity: thread | of each thread: robust list, clear_child_tid, rseq, thread id | kept; [identity](../README.md) says when ids are others
#include <asm/prctl.h>
#include <sched.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include <map>
#include <memory>

#include "registers.hpp"
#include "threads.hpp"

#if __has_include(<sys/rseq.h>)
#include <sys/rseq.h>
#define VICTIM_HAS_RSEQ 1
#endif

CKPT_HOLD(hold_avx,
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqu 32*\\i(%rdi),%ymm\\i\n.endr\n",
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
          " vmovdqu %ymm\\i,2048+32*\\i(%rdi)\n.endr\nvzeroupper\n");
CKPT_HOLD(hold_sse,
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu 16*\\i(%rdi),%xmm\\i\n.endr\n",
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
          " movdqu %xmm\\i,2048+16*\\i(%rdi)\n.endr\n");

namespace {

using victim::broken;
using victim::lost;

constexpr unsigned threads = 8;
thread_local uint64_t local_value;
thread_local uint64_t gs_area[8];

using values_of_thread = std::map<std::string, uint64_t>;

// All that the kernel says about the thread that asks.
values_of_thread state() {
  values_of_thread found;
  uint64_t mask = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, 8);
  found["mask"] = mask;
  stack_t stack{};
  sigaltstack(nullptr, &stack);
  found["alternate stack"] = reinterpret_cast<uintptr_t>(stack.ss_sp);
  found["its size"] = stack.ss_size;
  found["its flags"] = static_cast<unsigned>(stack.ss_flags);
  unsigned long base = 0;
  syscall(SYS_arch_prctl, ARCH_GET_FS, &base);
  found["fs base"] = base;
  syscall(SYS_arch_prctl, ARCH_GET_GS, &base);
  found["gs base"] = base;
  char name[16] = {};
  prctl(PR_GET_NAME, name);
  memcpy(&found["name"], name, 8);
  memcpy(&found["end of the name"], name + 8, 8);
  found["nice"] = static_cast<uint64_t>(getpriority(PRIO_PROCESS, 0));
  cpu_set_t processors;
  CPU_ZERO(&processors);
  sched_getaffinity(0, sizeof processors, &processors);
  memcpy(&found["affinity"], &processors, 8);
  found["policy"] = static_cast<unsigned>(sched_getscheduler(0));
  found["I/O priority"] = static_cast<uint64_t>(syscall(SYS_ioprio_get, 1, 0));
  found["timer slack"] = static_cast<unsigned>(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0));
  int death = 0;
  prctl(PR_GET_PDEATHSIG, &death, 0, 0, 0);
  found["parent-death signal"] = static_cast<unsigned>(death);
  found["no_new_privs"] = static_cast<unsigned>(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
  found["machine check policy"] = static_cast<unsigned>(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
  found["personality"] = static_cast<unsigned>(personality(0xffffffff));
  robust_list_head* head = nullptr;
  size_t length = 0;
  syscall(SYS_get_robust_list, 0, &head, &length);
  found["robust list"] = reinterpret_cast<uintptr_t>(head);
  int* clear = nullptr;
  if (prctl(PR_GET_TID_ADDRESS, &clear) == 0) {
    found["clear_child_tid"] = reinterpret_cast<uintptr_t>(clear);
    if (*clear != gettid()) lost("the cached thread id: %d instead of %d", *clear, gettid());
  }
  found["thread-local value"] = local_value;
  uint64_t through = 0;
  if (base != 0) asm volatile("mov %%gs:24, %0" : "=r"(through));
  found["through gs"] = through;
  return found;
}

void become_own(unsigned i, unsigned processors) {
  local_value = 0x1000 + i;
  gs_area[3] = 0x2000 + i;
  if (syscall(SYS_arch_prctl, ARCH_SET_GS, gs_area) != 0) broken("ARCH_SET_GS");
  char name[16];
  snprintf(name, sizeof name, "own) name (%u", i);
  prctl(PR_SET_NAME, name);
  stack_t stack{};
  stack.ss_size = 32768 + 4096 * i;
  stack.ss_sp = malloc(stack.ss_size);
  stack.ss_flags = i % 2 ? static_cast<int>(1u << 31) : 0;  // SS_AUTODISARM
  if (sigaltstack(&stack, nullptr) != 0) broken("sigaltstack");
  // Every other thread leaves the trigger to the others.
  victim::block(SIG_BLOCK, {SIGRTMIN + 1 + static_cast<int>(i), SIGUSR2, SIGRTMIN + 20});
  if (i % 2) victim::block(SIG_BLOCK, {SIGTSTP});
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(i % processors, &one);
  sched_setaffinity(0, sizeof one, &one);
  sched_param parameters{};
  if (i % 3 == 1) sched_setscheduler(0, SCHED_BATCH, &parameters);
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), static_cast<int>(i));
  syscall(SYS_ioprio_set, 1, 0, 2 << 13 | i);
  prctl(PR_SET_TIMERSLACK, 100'000 + i, 0, 0, 0);
  if (i == 5) prctl(PR_SET_PDEATHSIG, SIGUSR2, 0, 0, 0);
  if (i == 3) prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  if (i == 2) prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
  if (i == 6) personality(ADDR_COMPAT_LAYOUT);
  for (int j = 0; j < 3; ++j)
    pthread_sigqueue(pthread_self(), SIGRTMIN + 20,
                     sigval{.sival_int = static_cast<int>(100 * i) + j});
  pthread_kill(pthread_self(), SIGRTMIN + 1 + static_cast<int>(i));
  if (i % 2) pthread_kill(pthread_self(), SIGUSR2);
}

void check_pending(unsigned i) {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 20);
  const timespec none{};
  siginfo_t info{};
  for (int j = 0; j < 3; ++j) {
    if (sigtimedwait(&set, &info, &none) != SIGRTMIN + 20 || info.si_code != SI_QUEUE ||
        info.si_value.sival_int != static_cast<int>(100 * i) + j)
      lost("thread %u: its pending signal %d, code %d, value %d", i, j, info.si_code,
           info.si_value.sival_int);
  }
  sigfillset(&set);
  sigdelset(&set, SIGTSTP);
  int own = sigtimedwait(&set, &info, &none), other = sigtimedwait(&set, &info, &none);
  const int first = SIGRTMIN + 1 + static_cast<int>(i);
  if (own > other && other > 0) std::swap(own, other);
  if (i % 2 ? own != SIGUSR2 || other != first : own != first || other != -1)
    lost("thread %u: pending are %d and %d", i, own, other);
}

void check_rseq(unsigned i) {
#ifdef VICTIM_HAS_RSEQ
  if (__rseq_size == 0) return;
  auto* area = static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset;
  long again = syscall(SYS_rseq, area, 32, 0, RSEQ_SIG);
  if (again == 0 || errno != EBUSY)
    lost("thread %u: rseq is not registered: %ld, errno %d", i, again, errno);
#endif
  unsigned processor = 0;
  syscall(SYS_getcpu, &processor, nullptr, nullptr);  // the thread is bound to one
  victim::expect_equal("sched_getcpu", processor, static_cast<uint64_t>(sched_getcpu()));
}

void* body(unsigned i, unsigned processors) {
  become_own(i, processors);
  auto block = std::make_unique<held>();
  const bool avx = __builtin_cpu_supports("avx2");
  const size_t vectors = avx ? 16 * 32 : 16 * 16;
  prepare(*block, vectors, i + 1);
  const uint32_t rounding[] = {0, 0x2000, 0x4000, 0x6000};
  block->mxcsr_in = 0x1f80 | rounding[i % 4] | (i % 2 ? 0x8000 : 0) | i;
  block->control_in = static_cast<uint16_t>(0x037f & ~(i % 2 ? 0x0100 : 0)) |
                      static_cast<uint16_t>(rounding[(i + 1) % 4] >> 3);
  const auto before = state();
  const pid_t thread = gettid();
  victim::arrive();
  (avx ? hold_avx : hold_sse)(block.get());
  verify(*block, vectors);
  for (const auto& [what, value] : state())
    if (before.at(what) != value)
      lost("thread %u: %s is %#llx instead of %#llx", i, what.c_str(),
           static_cast<unsigned long long>(value),
           static_cast<unsigned long long>(before.at(what)));
  if (thread != gettid()) lost("thread %u: its id is %d instead of %d", i, gettid(), thread);
  check_pending(i);
  check_rseq(i);
  return reinterpret_cast<void*>(static_cast<uintptr_t>(4000 + i));
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  cpu_set_t all;
  sched_getaffinity(0, sizeof all, &all);
  unsigned processors = CPU_ISSET(0, &all) && CPU_ISSET(1, &all) ? 2 : 1;
  if (!CPU_ISSET(0, &all)) victim::skip("processor 0 is not for us");
  const auto before = state();
  pthread_t running[threads];
  for (unsigned i = 0; i < threads; ++i)
    running[i] = victim::start([=] { return body(i, processors); });
  victim::gather(threads);
  victim::work_until_stop();
  for (unsigned i = 0; i < threads; ++i)
    victim::expect_equal("what a thread returns", 4000 + i,
                         reinterpret_cast<uintptr_t>(victim::join(running[i], "a thread")));
  for (const auto& [what, value] : state())
    if (before.at(what) != value)
      lost("the main thread: %s is %#llx instead of %#llx", what.c_str(),
           static_cast<unsigned long long>(value),
           static_cast<unsigned long long>(before.at(what)));
  return victim::finish();
}
