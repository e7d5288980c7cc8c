/* SPDX-License-Identifier: MIT
 * A program that refers to nothing of ckpt. What it holds lies on either side of the agent's own
 * memory, when more.c is linked after the library, and must be there to the last byte. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { size = 100003 };
unsigned char before[size];
static unsigned char full[size] = {1};
extern unsigned char after[size];
void fill_after(void);
int after_is_whole(void);

static unsigned char byte_of(unsigned i) { return (unsigned char)(i * 7 + i / 251 + 1); }

int main(int count, char** words) {
  unsigned i;
  char* heap = malloc(size);
  if (count != 2 || heap == NULL) return 2;
  for (i = 0; i < size; ++i) before[i] = full[i] = byte_of(i);
  memset(heap, 'h', size);
  fill_after();
  puts("ready");
  fflush(stdout);
  while (access(words[1], F_OK) != 0) usleep(2000);
  for (i = 0; i < size; ++i)
    if (before[i] != byte_of(i) || full[i] != byte_of(i) || heap[i] != 'h') return 3;
  if (!after_is_whole()) return 4;
  puts("ok");
  return 0;
}
