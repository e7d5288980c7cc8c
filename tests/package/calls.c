/* SPDX-License-Identifier: MIT
 * Asks for its checkpoint itself, and says what came of it. */
#include <ckpt.h>

#include <stdio.h>

int main(void) {
  char why[200];
  char name[] = "called.ckpt";
  const int answer = ckpt_ckpt(name);
  ckpt_error(why, sizeof why);
  printf("%d %d %u %s\n", answer, ckpt_restarted(), ckpt_generation(), why);
  return 0;
}
