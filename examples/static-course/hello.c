/* SPDX-License-Identifier: MIT
 *
 * Prints a dot each second, or each argv[1] milliseconds, until it is killed. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

int main(int argc, char **argv) {
  long ms = argc > 1 ? atol(argv[1]) : 1000;
  struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
  for (;;) {
    putchar('.');
    fflush(stdout);
    nanosleep(&pause, NULL);
  }
}
