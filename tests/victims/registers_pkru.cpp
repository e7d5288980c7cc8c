// SPDX-License-Identifier: MIT
// The protection-key rights of the thread, which the kernel resets for a signal handler.
//
// Fidelity: registers | protection-key rights (PKRU) | kept
#include <cpuid.h>

#include "victim.hpp"

static uint32_t read_pkru() {
  uint32_t value, unused;
  asm volatile("rdpkru" : "=a"(value), "=d"(unused) : "c"(0));
  return value;
}

int main(int count, char** values) {
  victim::begin(count, values);
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(c & (1u << 4)))
    victim::skip("no protection keys here");
  uint32_t wanted = (read_pkru() & ~(0xfu << 20)) | (0x9u << 20);  // keys 10 and 11
  asm volatile("wrpkru" ::"a"(wanted), "c"(0), "d"(0));
  victim::work_until_stop();
  victim::expect_equal("PKRU", wanted, read_pkru());
  return victim::finish();
}
