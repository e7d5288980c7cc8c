// SPDX-License-Identifier: MIT
// General registers, xmm0-15, the x87 stack with its rounding and precision, and MXCSR.
//
// Fidelity: registers | general registers, x87 stack and control words, SSE, MXCSR | kept
#include "registers.hpp"

CKPT_HOLD(
    hold_sse, ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu 16*\\i(%rdi),%xmm\\i\n.endr\n",
    ".irp i,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n movdqu %xmm\\i,2048+16*\\i(%rdi)\n.endr\n");

int main(int count, char** values) {
  victim::begin(count, values);
  static held state;
  prepare(state, 16 * 16);
  victim::ready();
  hold_sse(&state);
  verify(state, 16 * 16);
  return victim::finish();
}
