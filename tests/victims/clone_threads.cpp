// SPDX-License-Identifier: MIT
// Threads that no library has made: bare clone, without thread-local storage, each with a word that
// the kernel clears and wakes at its end, each with values in its registers while it waits. There
// is no libc, and the first thread waits for the words and not for anything else.
#include <asm/unistd.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <linux/time_types.h>

using word = unsigned long;

namespace {

long call(long number, word a = 0, word b = 0, word c = 0, word d = 0, word e = 0, word f = 0) {
  long result;
  register word fourth asm("r10") = d;
  register word fifth asm("r8") = e;
  register word sixth asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
               : "rcx", "r11", "memory");
  return result;
}
template <class T>
word address(T* pointer) {
  return reinterpret_cast<word>(pointer);
}

constexpr int threads = 12;
struct own {
  alignas(16) unsigned char stack[16384];
  volatile int id;      // CLONE_PARENT_SETTID
  volatile int living;  // CLONE_CHILD_CLEARTID
  volatile int arrived;
  volatile word kept[6];
  volatile int as_before;
};
own all[threads];
volatile int stopping;
int losses;

void say(const char* text) {
  word length = 0;
  while (text[length]) ++length;
  call(__NR_write, 1, address(text), length);
}
void lost(const char* text) {
  ++losses;
  say("lost: ");
  say(text);
  say("\n");
}

void expect(bool holds, const char* what) {
  if (!holds) lost(what);
}

}  // namespace

// In a thread: waits with values in rbx, rbp, r12 to r14 and xmm7, then stores them.
extern "C" void wait_in_thread(own*, volatile int*);
asm(".text\nwait_in_thread:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\npush %rdi\n"
    "mov %rdi,%r15\nmov %rsi,%r9\n"
    "lea 1(%r15),%rbx\nlea 2(%r15),%rbp\nlea 3(%r15),%r12\nlea 4(%r15),%r13\nlea 5(%r15),%r14\n"
    "lea 6(%r15),%rax\nmovq %rax,%xmm7\n"
    "movl $1,16392(%r15)\n"
    "1: cmpl $0,(%r9)\njne 2f\n"
    "mov $202,%eax\nmov %r9,%rdi\nmov $128,%esi\nxor %edx,%edx\nxor %r10d,%r10d\nsyscall\njmp 1b\n"
    "2: pop %rdi\n"
    "mov %rbx,16400(%rdi)\nmov %rbp,16408(%rdi)\nmov %r12,16416(%rdi)\nmov %r13,16424(%rdi)\n"
    "mov %r14,16432(%rdi)\nmovq %xmm7,16440(%rdi)\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n");
static_assert(__builtin_offsetof(own, arrived) == 16392 && __builtin_offsetof(own, kept) == 16400);

extern "C" [[noreturn]] void in_thread(own* self) {
  const int id = self->id;
  wait_in_thread(self, &stopping);
  self->as_before = call(__NR_gettid) == id;
  call(__NR_exit);
  __builtin_unreachable();
}

// clone(flags, stack, parent's word, child's word, tls): the child begins in in_thread.
extern "C" long begin_thread(word flags, void* stack, volatile int* id, volatile int* living, own*);
asm("begin_thread:\n"
    "mov %rcx,%r10\nmov %r8,%r9\nxor %r8d,%r8d\nmov $56,%eax\nsyscall\n"
    "test %rax,%rax\njnz 1f\nxor %ebp,%ebp\nmov %r9,%rdi\ncall in_thread\nhlt\n1: ret\n");

extern "C" [[noreturn]] void begin(word* stack) {
  const word count = stack[0];
  const char* stop_file = reinterpret_cast<const char*>(stack[2]);
  if (count < 2) call(__NR_exit_group, 2);
  for (own& each : all) {
    each.living = 1;
    long id = begin_thread(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                               CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID,
                           each.stack + sizeof each.stack, &each.id, &each.living, &each);
    if (id < 0) call(__NR_exit_group, 2);
  }
  const __kernel_timespec short_time{0, 1'000'000};
  for (own& each : all)
    while (!each.arrived) call(__NR_nanosleep, address(&short_time));
  say("ready\n");
  while (call(__NR_access, address(stop_file)) != 0) call(__NR_nanosleep, address(&short_time));
  for (own& each : all) expect(each.living == 1, "a thread that is not told to end has ended");
  stopping = 1;
  call(__NR_futex, address(&stopping), FUTEX_WAKE_PRIVATE, 0x7fffffff);
  for (own& each : all) {
    const __kernel_timespec long_time{20, 0};
    // The kernel's wake is not private.
    while (each.living) {
      if (call(__NR_futex, address(&each.living), FUTEX_WAIT, static_cast<word>(each.living),
               address(&long_time)) == -110) {
        lost("the word of a thread that ends is not cleared");
        call(__NR_exit_group, 1);
      }
    }
    expect(each.as_before, "a thread's id");
    for (word i = 0; i < 6; ++i)
      expect(each.kept[i] == address(&each) + 1 + i, "a register of a thread");
  }
  if (losses == 0) say("ok\n");
  call(__NR_exit_group, losses != 0);
  __builtin_unreachable();
}
asm(".globl _start\n_start:\nxor %ebp,%ebp\nmov %rsp,%rdi\nand $-16,%rsp\ncall begin\nhlt\n");
