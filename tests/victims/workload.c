// SPDX-License-Identifier: MIT
// Allocates, frees, computes and prints, built in every way in which people build programs: each
// build is a row of tests/e2e/programs.py. With "mdwe" as its second argument it first gives up
// memory that is writable and executable.
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

enum { slots = 1024 };
static unsigned char* blocks[slots];
static size_t sizes[slots];

int main(int count, char** values) {
  const long scale = count > 1 ? atol(values[1]) : 100;
  if (count > 2 && strcmp(values[2], "mdwe") == 0 && prctl(65 /* PR_SET_MDWE */, 1, 0, 0, 0) != 0)
    return 77;
  FILE* log = fopen("log.txt", "w");
  if (!log) return 1;
  uint32_t state = 12345;
  uint64_t hash = 14695981039346656037u;
  for (long round = 0; round < scale; ++round) {
    for (int i = 0; i < 4000; ++i) {
      state = state * 1664525u + 1013904223u;
      const unsigned k = state >> 8 & (slots - 1);
      for (size_t at = 0; at < sizes[k]; at += 97) hash = (hash ^ blocks[k][at]) * 1099511628211u;
      free(blocks[k]);
      sizes[k] = 16 + (state >> 18);
      blocks[k] = malloc(sizes[k]);
      memset(blocks[k], (int)(state >> 24), sizes[k]);
    }
    printf("%ld %016llx %.17g\n", round, (unsigned long long)hash, sin((double)(hash >> 11)));
    if (round % 10 == 0) fprintf(log, "%ld %u\n", round, state);
  }
  for (int k = 0; k < slots; ++k) free(blocks[k]);
  fclose(log);
  return 9;
}
