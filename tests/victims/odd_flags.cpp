// SPDX-License-Identifier: MIT
// Flags of the processor that hardly anybody sets: alignment checks, under which compiled code of
// the agent would die, and the two that rt_sigreturn leaves alone.
//
// Fidelity: registers | flags: alignment check, nested task, ID | kept
#include "victim.hpp"

namespace {

constexpr uint64_t alignment_check = 1 << 18, nested_task = 1 << 14, identification = 1 << 21;

// Computes with the flags set, without compiled code in between; the flags it has at the end.
uint64_t compute_with(uint64_t flags) {
  uint64_t seen = 0;
  asm volatile(
      "lea -256(%%rsp), %%rsp\n\t"
      "pushfq\n\torq %1, (%%rsp)\n\tpopfq\n\t"
      "mov $2000000, %%ecx\n1:\tdec %%ecx\n\tjnz 1b\n\t"
      "pushfq\n\tmov (%%rsp), %0\n\tnot %1\n\tandq %1, (%%rsp)\n\tpopfq\n\t"
      "lea 256(%%rsp), %%rsp"
      : "=&r"(seen), "+r"(flags)
      :
      : "rcx", "cc", "memory");
  return seen;
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr uint64_t all = alignment_check | nested_task | identification;
  victim::ready();
  while (!victim::stop_requested() && victim::losses == 0)
    victim::expect_equal("flags", all, compute_with(all) & all);
  return victim::finish();
}
