/* SPDX-License-Identifier: MIT
 * The victims' manners (victim.hpp) for programs in C, which any libc can build. */
#ifndef PLAIN_H
#define PLAIN_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PLAIN_UNUSED __attribute__((unused))

PLAIN_UNUSED static const char* stop_file;
PLAIN_UNUSED static int losses;

PLAIN_UNUSED static void say(const char* text) {
  size_t length = strlen(text);
  while (length != 0) {
    ssize_t done = write(1, text, length);
    if (done < 0) _exit(3);
    text += done;
    length -= (size_t)done;
  }
}

PLAIN_UNUSED static void expect(const char* what, int holds) {
  if (holds) return;
  ++losses;
  say("lost: ");
  say(what);
  say("\n");
}

#endif
