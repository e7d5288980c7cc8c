// SPDX-License-Identifier: MIT
// zmm0-31 and k0-7, beside all that registers_sse holds.
//
// Fidelity: registers | AVX-512 (zmm, masks) | kept
#include "registers.hpp"

CKPT_HOLD(hold_avx512,
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,"
          "30,31\n vmovdqu64 64*\\i(%rdi),%zmm\\i\n.endr\n"
          ".irp i,0,1,2,3,4,5,6,7\n kmovq 4352+8*\\i(%rdi),%k\\i\n.endr\n",
          ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,"
          "30,31\n vmovdqu64 %zmm\\i,2048+64*\\i(%rdi)\n.endr\n"
          ".irp i,0,1,2,3,4,5,6,7\n kmovq %k\\i,4416+8*\\i(%rdi)\n.endr\nvzeroupper\n");

int main(int count, char** values) {
  victim::begin(count, values);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw"))
    victim::skip("this CPU has no AVX-512");
  static held state;
  prepare(state, sizeof state.vector_in);
  victim::ready();
  hold_avx512(&state);
  verify(state, sizeof state.vector_in);
  expect_held("mask registers", state.mask_in, state.mask_out, sizeof state.mask_in);
  return victim::finish();
}
