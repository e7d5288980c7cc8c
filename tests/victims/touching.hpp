// SPDX-License-Identifier: MIT
// What becomes of whoever touches a page: nothing, or a signal.
#pragma once

#include <setjmp.h>
#include <signal.h>

namespace victim {

inline sigjmp_buf untouched;
inline volatile int fault_signal, fault_code;

inline void on_fault(int signal, siginfo_t* info, void*) {
  fault_signal = signal;
  fault_code = info->si_code;
  siglongjmp(untouched, 1);
}

inline void expect_faults() {
  struct sigaction action {};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO;
  sigaction(SIGSEGV, &action, nullptr);
  sigaction(SIGBUS, &action, nullptr);
}

// The signal, 0 for none; its code is in fault_code.
inline int touch(unsigned char* at, bool write = false) {
  fault_signal = 0;
  fault_code = 0;
  if (sigsetjmp(untouched, 1) == 0) {
    auto* byte = static_cast<volatile unsigned char*>(at);
    if (write)
      *byte = 1;
    else
      (void)*byte;
  }
  return fault_signal;
}

}  // namespace victim
