// SPDX-License-Identifier: MIT
// A thousand threads: half wait in a futex with values in all registers that the call leaves alone,
// half in a condition variable; each has a value of its own in thread-local storage. All are let go
// and joined afterwards, and have kept everything.
//
// Fidelity: thread | a thousand threads | kept
#include <vector>

#include "threads.hpp"

namespace {

struct block {
  uint64_t in[8];          // 0: rbx rbp r8 r9 r12 r13 r14 and none
  uint64_t out[8];         // 64
  uint64_t vectors[32];    // 128
  uint64_t after[32];      // 384
  std::atomic<int>* word;  // 640
  long wrong;              // 648
};
static_assert(offsetof(block, word) == 640);

}  // namespace

// Waits in a futex until its word is not 0, and brings all registers back.
extern "C" void wait_with_registers(block*);
asm(".text\n.globl wait_with_registers\n.type wait_with_registers,@function\nwait_with_registers:\n"
    "push %rbx\npush %rbp\npush %r12\npush %r13\npush %r14\npush %r15\n"
    "mov %rdi,%r15\n"
    "mov (%r15),%rbx\nmov 8(%r15),%rbp\nmov 16(%r15),%r8\nmov 24(%r15),%r9\n"
    "mov 32(%r15),%r12\nmov 40(%r15),%r13\nmov 48(%r15),%r14\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu 128+16*\\i(%r15),%xmm\\i\n.endr\n"
    "1: mov 640(%r15),%rdi\ncmpl $0,(%rdi)\njne 3f\n"
    "mov $202,%eax\nmov $128,%esi\nxor %edx,%edx\nxor %r10d,%r10d\nsyscall\n"
    "test %rax,%rax\njz 1b\ncmp $-11,%rax\nje 1b\nmov %rax,648(%r15)\njmp 1b\n"
    "3: mov %rbx,64(%r15)\nmov %rbp,72(%r15)\nmov %r8,80(%r15)\nmov %r9,88(%r15)\n"
    "mov %r12,96(%r15)\nmov %r13,104(%r15)\nmov %r14,112(%r15)\n"
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu %xmm\\i,384+16*\\i(%r15)\n.endr\n"
    "pop %r15\npop %r14\npop %r13\npop %r12\npop %rbp\npop %rbx\nret\n"
    ".size wait_with_registers, .-wait_with_registers\n");

namespace {

unsigned threads = 1000;  // or the second argument
thread_local uint64_t local_value = 0xdddd;
thread_local uint64_t local_zero;
pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
bool open_gate = false;

void* in_futex(unsigned i) {
  block own{};
  for (unsigned j = 0; j < 7; ++j) own.in[j] = (i * 31 + j + 1) * 0x9e3779b97f4a7c15;
  victim::fill(own.vectors, sizeof own.vectors, i);
  own.word = &victim::stopping;
  victim::arrive();
  wait_with_registers(&own);
  if (own.wrong != 0) victim::lost("thread %u: futex says %ld", i, own.wrong);
  for (unsigned j = 0; j < 7; ++j) victim::expect_equal("a register", own.in[j], own.out[j]);
  victim::expect_filled("vector registers", own.after, sizeof own.after, i);
  return nullptr;
}

void* in_condition() {
  pthread_mutex_lock(&mutex);
  victim::arrive();
  while (!open_gate) {
    int error = pthread_cond_wait(&condition, &mutex);
    if (error != 0) victim::lost("pthread_cond_wait: %s", strerror(error));
  }
  pthread_mutex_unlock(&mutex);
  return nullptr;
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  if (count > 2) threads = static_cast<unsigned>(atoi(values[2]));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  std::vector<pthread_t> running;
  for (unsigned i = 0; i < threads; ++i)
    running.push_back(victim::start(
        [i]() -> void* {
          local_value = 10'000 + i;
          const pid_t id = gettid();
          i % 2 ? in_futex(i) : in_condition();
          victim::expect_equal("thread-local value", 10'000 + i, local_value);
          victim::expect_equal("thread-local zero", 0, local_zero);
          victim::expect_equal("thread id", static_cast<uint64_t>(id),
                               static_cast<uint64_t>(gettid()));
          return reinterpret_cast<void*>(static_cast<uintptr_t>(i + 1));
        },
        &attributes));
  victim::gather(threads);
  victim::rest_until_stop();
  victim::tell_all();
  pthread_mutex_lock(&mutex);
  open_gate = true;
  pthread_cond_broadcast(&condition);
  pthread_mutex_unlock(&mutex);
  for (unsigned i = 0; i < threads; ++i)
    victim::expect_equal("what a thread returns", i + 1,
                         reinterpret_cast<uintptr_t>(victim::join(running[i], "a thread")));
  return victim::finish();
}
