// SPDX-License-Identifier: MIT
// A program at fixed addresses, low in memory. It computes for as long as its argument says, prints
// as it goes, writes a file, and ends with status 9: one of the programs of tests/e2e/programs.py.
#include <cstdint>
#include <cstdio>
#include <cstdlib>

static uint32_t table[1 << 16];
static const char* const names[] = {"alpha", "beta", "gamma", "delta"};

int main(int count, char** values) {
  int scale = count > 1 ? atoi(values[1]) : 100;
  FILE* log = fopen("log.txt", "w");
  if (!log) return 1;
  uint64_t state = 88172645463325252u;
  double sum = 0;
  for (int i = 0; i < scale; ++i) {
    for (int j = 0; j < 1'000'000; ++j) {
      state ^= state << 13;
      state ^= state >> 7;
      state ^= state << 17;
      table[state & 0xffff] += static_cast<uint32_t>(state >> 32);
      sum += static_cast<double>(state & 0xff) / 3;
    }
    printf("%d %s %u %.6f\n", i, names[state & 3], table[state & 0xffff], sum);
    if (i % 10 == 0) fprintf(log, "%d %llu\n", i, static_cast<unsigned long long>(state));
  }
  fclose(log);
  return 9;
}
