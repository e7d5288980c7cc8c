// SPDX-License-Identifier: MIT
// A lock that is not given up in time: EAGAIN or ETIMEDOUT from the kernel, never EINTR.
#include <linux/futex.h>
#include <sys/syscall.h>

#include "sleeping.hpp"

int main(int count, char** values) {
  return victim::sleeps(count, values, "futex", [] {
    static uint32_t word = 1;
    timespec time = victim::nap_spec();
    return syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, &time, nullptr, 0) == -1 &&
           errno == ETIMEDOUT;
  });
}
