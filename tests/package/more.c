/* SPDX-License-Identifier: MIT
 * The part of surrounded.c that is linked last. */
enum { size = 100003 };
unsigned char after[size];

void fill_after(void) {
  unsigned i;
  for (i = 0; i < size; ++i) after[i] = (unsigned char)(i * 11 + 5);
}

int after_is_whole(void) {
  unsigned i;
  for (i = 0; i < size; ++i)
    if (after[i] != (unsigned char)(i * 11 + 5)) return 0;
  return 1;
}
