/* SPDX-License-Identifier: MIT
 *
 * Counts for ever, a number each half second or each argv[1] milliseconds. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
  long ms = argc > 1 ? atol(argv[1]) : 500;
  const struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  for (unsigned long i = 1;; ++i) {
    printf("%lu ", i);
    fflush(stdout);
    nanosleep(&pause, NULL);
  }
}
