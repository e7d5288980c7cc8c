/* SPDX-License-Identifier: MIT
 *
 * Counts, and ends by itself with a status and something to say: an end that runs everything libc
 * does at exit. argv[1] is the number of steps, each of 0.1 s. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void farewell(void) { puts("farewell"); }

int main(int argc, char **argv) {
  long steps = argc > 1 ? atol(argv[1]) : 100;
  const struct timespec pause = {0, 100000000};
  atexit(farewell);
  for (long i = 1; i <= steps; ++i) {
    printf("%ld\n", i);
    fflush(stdout);
    nanosleep(&pause, NULL);
  }
  return 7;
}
