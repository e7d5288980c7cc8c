// SPDX-License-Identifier: MIT
// ymm0-15 with their upper halves, beside all that registers_sse holds.
//
// Fidelity: registers | AVX (ymm) | kept
#include "registers.hpp"

CKPT_HOLD(hold_avx,
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n vmovdqu 32*\\i(%rdi),%ymm\\i\n.endr\n",
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
          " vmovdqu %ymm\\i,2048+32*\\i(%rdi)\n.endr\nvzeroupper\n");

int main(int count, char** values) {
  victim::begin(count, values);
  if (!__builtin_cpu_supports("avx2")) victim::skip("this CPU has no AVX2");
  static held state;
  prepare(state, 16 * 32);
  victim::ready();
  hold_avx(&state);
  verify(state, 16 * 32);
  return victim::finish();
}
