/* SPDX-License-Identifier: MIT
 * Functions that need some stack are called around checkpoints that meet the program in calls with a
 * time limit, which are made again: neither may get into the other's way. Prints "ready" and "ok". */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ckpt.h"

static volatile unsigned calls;

static void function(void* unused) {
  volatile char room[6000];
  unsigned i;
  (void)unused;
  for (i = 0; i < sizeof room; ++i) room[i] = (char)i;
  ++calls;
}

int main(void) {
  struct timespec nap = {0, 7000000};
  ckpt_on_preckpt(function, NULL);
  ckpt_on_postckpt(function, NULL);
  ckpt_on_restart(function, NULL);
  puts("ready");
  fflush(stdout);
  while (access("stop", F_OK) != 0) {
    nanosleep(&nap, NULL);
    poll(NULL, 0, 7);
  }
  puts(calls != 0 ? "ok" : "no function was called");
  return 0;
}
