// SPDX-License-Identifier: MIT
// A program in plain C asks for its checkpoints itself, from wherever a call may come: main, deep in
// a recursion, a thread, a signal handler, a handler on an alternate stack with little room. Each
// call comes back once for each start, with what a function must leave as it was. Without the library
// all is as if nothing had been called. Prints a line for each call, and "ok".
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ckpt.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

#ifndef ROOM
#define ROOM 4096
#endif

static unsigned calls;
static int failures;

static void put(const char* text) {
  ssize_t done = write(1, text, strlen(text));
  (void)done;
}

static void check(int good, const char* what) {
  if (good) return;
  ++failures;
  put("lost: ");
  put(what);
  put("\n");
}

/* ckpt_ckpt(0) with a value in every register that a function must leave as it was. */
static int ask_with_registers(void) {
  unsigned long before[6], after[6];
  unsigned mxcsr = 0xffc0, mxcsr_after = 0, mxcsr_old = 0; /* towards zero, denormals are zero */
  unsigned short control = 0x0c7f, control_after = 0, control_old = 0;
  unsigned long *from = before, *to = after;
  unsigned* mxcsr_at = &mxcsr;
  unsigned short* control_at = &control;
  int (*function)(char*) = ckpt_ckpt, i, result;
  for (i = 0; i < 6; ++i) before[i] = 0x1111111111111111ul * (unsigned long)(i + 1);
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr_old), "=m"(control_old));
  __asm__ volatile(
      "lea -128(%%rsp), %%rsp\n\t" /* the red zone */
      "push %%rbp\n\t"
      "mov %%rsp, %%rbp\n\t"
      "and $-16, %%rsp\n\t"
      "push %%rbp\n\t"
      "push %[after]\n\t"
      "ldmxcsr (%[mxcsr])\n\t"
      "fldcw (%[control])\n\t"
      "mov (%[before]), %%rbx\n\t"
      "mov 8(%[before]), %%r12\n\t"
      "mov 16(%[before]), %%r13\n\t"
      "mov 24(%[before]), %%r14\n\t"
      "mov 32(%[before]), %%r15\n\t"
      "mov 40(%[before]), %%rbp\n\t"
      "xor %%edi, %%edi\n\t"
      "call *%[function]\n\t"
      "pop %%rcx\n\t"
      "mov %%rbx, (%%rcx)\n\t"
      "mov %%r12, 8(%%rcx)\n\t"
      "mov %%r13, 16(%%rcx)\n\t"
      "mov %%r14, 24(%%rcx)\n\t"
      "mov %%r15, 32(%%rcx)\n\t"
      "mov %%rbp, 40(%%rcx)\n\t"
      "pop %%rsp\n\t"
      "pop %%rbp\n\t"
      "lea 128(%%rsp), %%rsp"
      : "=a"(result), [before] "+S"(from), [after] "+d"(to), [mxcsr] "+c"(mxcsr_at),
        [control] "+D"(control_at)
      : [function] "a"(function)
      : "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "memory", "cc");
  __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr_after), "=m"(control_after));
  __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr_old), "m"(control_old));
  check(memcmp(before, after, sizeof before) == 0, "a register that a function must keep");
  check(mxcsr_after == mxcsr, "MXCSR");
  check(control_after == control, "the x87 control word");
  return result;
}

static void ask(const char* where) {
  char line[400], error[200];
  sigset_t blocked, old, before, after;
  stack_t stack_before, stack_after;
  unsigned generation = ckpt_generation();
  int result, saved;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigaddset(&blocked, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &blocked, &old);
  pthread_sigmask(SIG_SETMASK, 0, &before);
  sigaltstack(0, &stack_before);
  errno = 4711;
  result = ask_with_registers();
  saved = errno;
  pthread_sigmask(SIG_SETMASK, &old, &after);
  sigaltstack(0, &stack_after);
  ckpt_error(error, sizeof error);
  check(result == 0, error);
  check(error[0] == 0, "the empty error");
  check(saved == 4711, "errno");
  check(memcmp(&before, &after, sizeof(long)) == 0, "the mask");
  check(stack_before.ss_sp == stack_after.ss_sp && stack_before.ss_size == stack_after.ss_size &&
            stack_before.ss_flags == stack_after.ss_flags,
        "the alternate stack");
  ++calls;
  check(ckpt_generation() == generation + (unsigned)ckpt_restarted(), "the generation");
  snprintf(line, sizeof line, "%s: %s\n", where, ckpt_restarted() ? "restarted" : "went on");
  put(line);
}

static const char* handlers_place;
static void handler(int signal) {
  (void)signal;
  ask(handlers_place);
}

static void* thread(void* unused) {
  static __thread int own = 17;
  own = 18;
  ask("thread");
  check(own == 18, "thread-local storage");
  return unused;
}

static int deep(int levels) {
  volatile char room[1000];
  int below;
  room[0] = (char)levels;
  room[999] = (char)(levels + 1);
  if (levels == 0) {
    ask("deep");
    return 0;
  }
  below = deep(levels - 1);
  check(room[0] == (char)levels && room[999] == (char)(levels + 1), "the stack");
  return below + 1;
}

static void* small_stack(void* unused) {
  /* Room for the kernel's frame and for this program; sanitizers need more. */
  size_t size = getauxval(AT_MINSIGSTKSZ) + ROOM, pages = (size + 4095) / 4096 * 4096;
  struct sigaction action;
  stack_t stack;
  char* area = mmap(0, pages + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  mprotect(area, 4096, PROT_NONE);
  memset(&stack, 0, sizeof stack);
  stack.ss_sp = area + 4096;
  stack.ss_size = size;
  sigaltstack(&stack, 0);
  memset(&action, 0, sizeof action);
  action.sa_handler = handler;
  action.sa_flags = SA_ONSTACK;
  sigaction(SIGUSR2, &action, 0);
  handlers_place = "small alternate stack";
  pthread_kill(pthread_self(), SIGUSR2);
  return unused;
}

int main(int count, char** values) {
  unsigned char first[16], second[16];
  struct ckptconfig config;
  pthread_t other;
  (void)values;
  if (ckpt_present() == 0) put("no library\n");
  check(ckpt_present() == 0 || strlen(ckpt_version()) >= 5, "the version");
  check(ckpt_generation() == 0 && ckpt_restarted() == 0, "the beginning");
  if (count > 1) {
    config.continues = 1;
    config.flags = CKPT_CONTINUE;
    ckpt_config(&config, 0);
  }
  memset(first, 0, sizeof first);
  ckpt_instance(first);
  ask("main");
  memset(second, 0, sizeof second);
  ckpt_instance(second);
  if (ckpt_present())
    check((memcmp(first, second, 16) != 0) == ckpt_restarted(), "the instance of each start");
  deep(2000);
  pthread_create(&other, 0, thread, 0);
  pthread_join(other, 0);
  handlers_place = "handler";
  signal(SIGUSR1, handler);
  raise(SIGUSR1);
  pthread_create(&other, 0, small_stack, 0);
  pthread_join(other, 0);
  check(calls == 5, "a call");
  if (failures == 0) put("ok\n");
  return failures == 0 ? 0 : 1;
}
