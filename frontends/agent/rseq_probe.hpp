// SPDX-License-Identifier: MIT
//
// Where this thread has registered its rseq area, asked of the kernel without ptrace: registering
// the same area again answers EBUSY, any other EINVAL. Libcs keep the area near the thread pointer.
// Source: rseq(2), kernel/rseq.c.
#pragma once

#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

struct rseq_registration {
  u64 address = 0;
  u32 size = 0;
  u32 signature = 0;
};

// Context: the thread in question
[[gnu::cold, gnu::noinline]] inline rseq_registration probe_rseq(u64 thread_pointer) {
  constexpr u32 signature = 0x53053053;  // RSEQ_SIG of x86, which glibc uses
  alignas(32) u8 other[32] = {};
  if (sys::rseq(reinterpret_cast<u64>(other), sizeof other, 0, signature).ok()) {
    (void)sys::rseq(reinterpret_cast<u64>(other), sizeof other, sys::abi::rseq_flag_unregister,
                    signature);
    return {};  // none was registered
  }
  constexpr u64 reach = 8192;
  for (const u32 size : {32u, 64u, 28u, 20u})
    for (u64 at = (thread_pointer - reach) & ~u64{31}; at < thread_pointer + reach; at += 32) {
      const auto r = sys::rseq(at, size, 0, signature);
      if (r.error() == errc::busy) return {at, size, signature};
      if (r.error() == errc::no_system_call) return {};
    }
  return {};
}

}  // namespace ckpt::agent
