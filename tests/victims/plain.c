/* SPDX-License-Identifier: MIT
 * Without a dynamic linker, in several ways of linking and with two libcs: counts, and holds what a
 * libc gives a program: heap, thread-local storage, stdio, clocks, environment. */
#include <errno.h>
#include <math.h>
#include <time.h>

#include "plain.h"

static __thread int local = 4711;
static __thread char zeroed[3000];

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int count, char** values) {
  enum { pieces = 3000 };
  static char* piece[pieces];
  volatile unsigned long up = 0, down = ~0ul;
  volatile double third = 1.0 / 3.0;
  const double begun = seconds();
  FILE* own = fopen("/proc/self/exe", "rb");
  if (count < 2 || own == NULL || fgetc(own) != 0x7f) return 2;
  stop_file = values[1];
  for (int i = 0; i < pieces; ++i) {
    piece[i] = malloc((size_t)i + 1);
    memset(piece[i], i, (size_t)i + 1);
  }
  strcpy(zeroed + 2900, "here");
  errno = 77;
  say("ready\n");
  int number = errno;
  while (access(stop_file, F_OK) != 0)
    for (int i = 0; i < 100000; ++i) {
      up = up + 1;
      down = down - 1;
    }
  expect("count", up + down == ~0ul);
  expect("floating point", third * 3.0 == 1.0 && sqrt(third) > 0.577);
  expect("thread-local storage", local == 4711 && strcmp(zeroed + 2900, "here") == 0);
  expect("errno before", number == 77);
  expect("clock", seconds() >= begun);
  expect("stdio", fgetc(own) == 'E' && fclose(own) == 0);
  for (int i = 0; i < pieces; ++i) {
    expect("heap", piece[i][0] == (char)i && piece[i][i] == (char)i);
    free(piece[i]);
  }
  expect("arguments", count == 5 && values[2][0] == '\0' && strcmp(values[4], "3") == 0 &&
                          values[5] == NULL);
  const char* value = getenv("VICTIM_VALUE");
  expect("environment", value != NULL && strncmp(value, "kept = ", 7) == 0);
  expect("nothing of ckpt in the environment",
         getenv("LD_PRELOAD") == NULL && getenv("_CKPT_LAUNCH") == NULL);
  if (losses == 0) say("ok\n");
  return losses != 0;
}
