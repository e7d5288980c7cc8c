/* SPDX-License-Identifier: MIT
 * A program of somebody else's, in C: says what it finds of ckpt, waits for a file, and looks at what
 * it had before. */
#include <ckpt.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int count, char** words) {
  volatile double third = 1.0 / 3.0;
  char* kept = malloc(100000);
  int i;
  if (count != 2 || kept == NULL) return 2;
  for (i = 0; i < 100000; ++i) kept[i] = (char)i;
  printf("present %d\nready\n", ckpt_present());
  fflush(stdout);
  while (access(words[1], F_OK) != 0) usleep(2000);
  for (i = 0; i < 100000; ++i)
    if (kept[i] != (char)i) return 3;
  if (sqrt(third) < 0.577) return 4;
  puts("ok");
  return 0;
}
