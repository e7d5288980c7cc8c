// SPDX-License-Identifier: MIT
// A program that wants to be called, checkpointed by a signal that only its second thread takes.
// The functions come in their order, in that thread, with its thread-local storage and all signals
// blocked; after a restart handlers and timers are back, descriptors are not, the other threads
// stand still, and a checkpoint from there is refused. What is in vector registers stays.
//
// Fidelity: API | callbacks: order, thread, TLS, mask, vector registers; what is back before on_restart | kept
#include "ckpt.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>

#include "victim.hpp"

static char history[4000];
static volatile unsigned length;
static thread_local long own = 1;
static long worker_own;
static int file = -1;
static timer_t timer;
static std::atomic<uint64_t> turns;
static std::atomic<bool> stop;

static void on_usr1(int) {}

// What the interrupted code has in them must be kept by the agent, not by us.
static void spoil_registers() {
  asm volatile(
      "pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1\n\tpcmpeqd %%xmm7, %%xmm7\n\t"
      "pcmpeqd %%xmm8, %%xmm8\n\tpcmpeqd %%xmm15, %%xmm15\n\tfninit"
      :
      :
      : "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
}

static void note(void* what) {
  const char c = *static_cast<const char*>(what);
  const int error = errno;
  if (length < sizeof history) {
    history[length] = c;
    length = length + 1;
  }
  if (own != worker_own) victim::lost("%c: thread-local storage of another thread", c);
  sigset_t mask;
  sigprocmask(SIG_SETMASK, nullptr, &mask);
  if (sigismember(&mask, SIGTERM) != 1 || sigismember(&mask, SIGUSR1) != 1)
    victim::lost("%c: signals are not blocked", c);
  alignas(16) volatile char aligned[16];
  if (reinterpret_cast<uintptr_t>(aligned) % 16 != 0)
    victim::lost("%c: the stack is not aligned", c);
  unsigned long flags;
  asm volatile("pushfq\n\tpop %0" : "=r"(flags));
  if ((flags & 0x40400) != 0) victim::lost("%c: the flags are %lx", c, flags);
  char text[200];
  char name[] = "other.ckpt";
  if (ckpt_ckpt(name) != -1) victim::lost("%c: a checkpoint from a callback", c);
  if (ckpt_error(text, sizeof text) < 20 || strstr(text, "ckpt_ckpt") == nullptr)
    victim::lost("%c: the refusal says '%s'", c, text);
  const bool restart = c == 'x' || c == 'y';
  if ((fcntl(file, F_GETFD) != -1) == restart)
    victim::lost("%c: descriptor %d is %s", c, file, restart ? "there" : "gone");
  if (restart) {
    struct sigaction now;
    sigaction(SIGUSR1, nullptr, &now);
    if (now.sa_handler != on_usr1) victim::lost("%c: the handler is not back", c);
    itimerspec left{};
    if (timer_gettime(timer, &left) != 0 || left.it_value.tv_sec < 1000)
      victim::lost("%c: the timer is not back", c);
    const uint64_t before = turns;
    victim::compute();
    victim::compute();
    if (before != turns) victim::lost("%c: another thread runs", c);
  }
  spoil_registers();
  errno = error;
}

static void* work(void*) {
  own = worker_own = 77;
  sigset_t all;
  sigfillset(&all);
  sigdelset(&all, SIGTSTP);
  pthread_sigmask(SIG_SETMASK, &all, nullptr);
  while (!stop) {
    double a = 1.5, b = 0;
    uint64_t bad = 0;
    // Loops with values in vector registers that are never written to memory.
    asm volatile(
        "movq %[one], %%xmm0\n\tmovq %[one], %%xmm7\n\tmovq %[one], %%xmm15\n\t"
        "movq %[one], %%r8\n\tmov $200000, %%ecx\n"
        "1:\tmovq %%xmm0, %%rax\n\tcmp %%r8, %%rax\n\tjne 2f\n\t"
        "movq %%xmm7, %%rax\n\tcmp %%r8, %%rax\n\tjne 2f\n\t"
        "movq %%xmm15, %%rax\n\tcmp %%r8, %%rax\n\tjne 2f\n\t"
        "dec %%ecx\n\tjnz 1b\n\tjmp 3f\n"
        "2:\tmov $1, %[bad]\n3:"
        : [bad] "+r"(bad)
        : [one] "r"(0x123456789abcdef0ul)
        : "rax", "rcx", "r8", "xmm0", "xmm7", "xmm15", "cc");
    if (bad != 0) victim::lost("a vector register");
    b = a * 2;
    if (b != 3.0) victim::lost("arithmetic");
  }
  return nullptr;
}

static void* turn(void*) {
  while (!stop) ++turns;
  return nullptr;
}

int main(int count, char** values) {
  victim::begin(count, values);
  if (!ckpt_present()) {
    ckpt_on_preckpt(note, nullptr);
    return victim::work_until_stop(), victim::finish();
  }
  file = open("/dev/null", O_RDONLY);
  signal(SIGUSR1, on_usr1);
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGUSR1;
  itimerspec far{};
  far.it_value.tv_sec = 5000;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
      timer_settime(timer, 0, &far, nullptr) != 0)
    victim::broken("timer");
  static char names[] = "12abyx";
  ckpt_on_preckpt(note, &names[0]);
  ckpt_on_preckpt(note, &names[1]);
  ckpt_on_postckpt(note, &names[2]);
  ckpt_on_postckpt(note, &names[3]);
  ckpt_on_restart(note, &names[4]);
  ckpt_on_restart(note, &names[5]);
  sigset_t trigger;
  sigemptyset(&trigger);
  sigaddset(&trigger, SIGTSTP);
  pthread_t worker, other;
  pthread_sigmask(SIG_BLOCK, &trigger, nullptr);  // until the worker is ready to take it
  pthread_create(&worker, nullptr, work, nullptr);
  pthread_create(&other, nullptr, turn, nullptr);
  victim::work_until_stop();
  stop = true;
  pthread_join(worker, nullptr);
  pthread_join(other, nullptr);
  unsigned restarts = 0;
  for (unsigned i = 0; i < length; i += 4) {
    if (memcmp(history + i, "12ab", 4) == 0) continue;
    if (memcmp(history + i, "12xy", 4) == 0)
      ++restarts;
    else
      victim::lost("the order of calls: %.*s", static_cast<int>(length), history);
  }
  victim::expect_equal("the restarts", ckpt_generation(), restarts);
  if (ckpt_generation() == 0 && length == 0) victim::lost("nothing was called");
  return victim::finish();
}
