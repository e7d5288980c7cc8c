/* SPDX-License-Identifier: MIT
 *
 * Counts, in a function of its own, so that a debugger has something to show. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

long count;

static void pause_a_while(long ms) {
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  nanosleep(&pause, NULL);
}

static void count_on(long ms) {
  for (;;) {
    printf("%ld ", ++count);
    fflush(stdout);
    pause_a_while(ms);
  }
}

int main(int argc, char **argv) {
  count_on(argc > 1 ? atol(argv[1]) : 1000);
  return 0;
}
