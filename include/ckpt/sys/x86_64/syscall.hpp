// SPDX-License-Identifier: MIT
//
// The system call instruction of x86-64. Source: x86-64 psABI, A.2.1 ("Linux Kernel Conventions"):
// number in rax, arguments in rdi rsi rdx r10 r8 r9, rcx and r11 destroyed, -4095..-1 is an error.
#pragma once

#include <asm/unistd.h>

namespace ckpt::sys::arch {

inline long syscall(long nr, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                    long f = 0) {
  long ret;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(ret)
                   : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return ret;
}

}  // namespace ckpt::sys::arch
