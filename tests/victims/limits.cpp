// SPDX-License-Identifier: MIT
// Calls with a relative time limit, while checkpoints come more often than the limit: each comes
// back with its full wait behind it, and not only when the checkpoints end. The registers that the
// call keeps are the same behind it, and so is the stack.
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/sem.h>
#include <sys/syscall.h>

#include "sleeping.hpp"

namespace {

struct outcome {
  long result;
  bool kept;
};

// Every argument register must be as it was, as a compiler expects of the instruction.
template <long Number>
[[gnu::noinline]] outcome call(long a, long b, long c, long d = 0, long e = 0) {
  long result = 0, rdi = a, rsi = b, rdx = c, below = 0;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = 0x5a5a;
  // Compilers keep values below the stack pointer, too.
  asm volatile(
      "movq $0x1234567, -64(%%rsp)\n\tmovl %[number], %%eax\n\tsyscall\n\tmovq -64(%%rsp), %[below]"
      : "=&a"(result), "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8),
        "+r"(r9), [below] "=&r"(below)
      : [number] "i"(Number)
      : "rcx", "r11", "memory");
  const bool kept =
      rdi == a && rsi == b && rdx == c && r10 == d && r8 == e && r9 == 0x5a5a && below == 0x1234567;
  return {result, kept};
}

long address(const void* p) {
  return reinterpret_cast<long>(p);
}

uint32_t word = 1;
const timespec limit = victim::nap_spec();  // read-only: nobody may write what is left there
int semaphores = -1;

struct row {
  const char* name;
  long wanted;
  outcome (*wait)();
};
const row rows[] = {
    {"poll", 0, [] { return call<SYS_poll>(0, 0, victim::nap / 1'000'000); }},
    {"ppoll", 0,
     [] {
       timespec rest = limit;
       return call<SYS_ppoll>(0, 0, address(&rest), 0, 8);
     }},
    {"nanosleep", 0, [] { return call<SYS_nanosleep>(address(&limit), 0, 77); }},
    {"nanosleep with a rest", 0,
     [] {
       timespec rest{};
       return call<SYS_nanosleep>(address(&limit), address(&rest), 77);
     }},
    {"clock_nanosleep", 0,
     [] { return call<SYS_clock_nanosleep>(CLOCK_BOOTTIME, 0, address(&limit)); }},
    {"futex", -ETIMEDOUT,
     [] { return call<SYS_futex>(address(&word), FUTEX_WAIT_PRIVATE, 1, address(&limit)); }},
    {"sigtimedwait", -EAGAIN,
     [] {
       static const uint64_t set = uint64_t{1} << (SIGUSR2 - 1);
       return call<SYS_rt_sigtimedwait>(address(&set), 0, address(&limit), 8);
     }},
    {"semtimedop", -EAGAIN,
     [] {
       static sembuf wait{0, -1, 0};
       return call<SYS_semtimedop>(semaphores, address(&wait), 1, address(&limit));
     }},
};

void wait_for(const row& r) {
  const int64_t start = victim::now();
  const outcome got = r.wait();
  const int64_t took = victim::now() - start;
  if (got.result != r.wanted) victim::lost("%s: %ld instead of %ld", r.name, got.result, r.wanted);
  if (!got.kept) victim::lost("%s: registers or the stack", r.name);
  if (took < victim::nap - 1'000'000)
    victim::lost("%s: too early, after %lld us", r.name, static_cast<long long>(took / 1000));
}

// On an alternate stack as well, where the trigger's own frame lies elsewhere.
void on_signal(int) {
  for (const row& r : rows) wait_for(r);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  semaphores = semget(IPC_PRIVATE, 1, 0600 | IPC_CREAT);
  if (semaphores < 0) victim::skip("no System V semaphores here");
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  victim::ready();
  for (const row& r : rows) wait_for(r);
  static unsigned char alternate[256 << 10];
  stack_t stack{};
  stack.ss_sp = alternate;
  stack.ss_size = sizeof alternate;
  sigaltstack(&stack, nullptr);
  for (const row& r : rows) wait_for(r);
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK | SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  raise(SIGUSR1);
  semctl(semaphores, 0, IPC_RMID);
  return victim::finish();
}
