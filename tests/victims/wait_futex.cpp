// SPDX-License-Identifier: MIT
// A lock that is not given up in time: ETIMEDOUT from the kernel, never EINTR. The call is made as
// the C libraries make it, with its number in the code; through syscall(3) nobody can find it
// again.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "sleeping.hpp"

static long futex_wait(uint32_t* word, uint32_t value, const timespec* limit) {
  long result;
  register const timespec* fourth asm("r10") = limit;
  asm volatile("mov %1, %%eax\n\tsyscall"
               : "=&a"(result)
               : "i"(SYS_futex), "D"(word), "S"(FUTEX_WAIT_PRIVATE), "d"(value), "r"(fourth)
               : "rcx", "r11", "memory");
  return result;
}

int main(int count, char** values) {
  return victim::sleeps(count, values, "futex", [] {
    static uint32_t word = 1;
    timespec time = victim::nap_spec();
    errno = static_cast<int>(-futex_wait(&word, 1, &time));
    return errno == ETIMEDOUT;
  });
}
