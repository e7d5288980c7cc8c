/* SPDX-License-Identifier: MIT
 *
 * A program with things to find: a variable, words on the heap, named functions on the stack of each
 * thread, a file without a name. It works until the file `stop` appears, and says `here` when the file
 * `speak` does. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2

volatile int known_answer;
volatile double known_fraction = 0.15625;
char *volatile on_the_heap;
volatile unsigned char *volatile busy_page;

static volatile long rounds[THREADS + 1];

/* Once every thread has gone round again, all of them are where they wait. */
static void say_when_all_are_here(const char *word) {
  long before[THREADS + 1];
  for (int i = 0; i <= THREADS; ++i) before[i] = rounds[i];
  for (int i = 0; i <= THREADS; ++i)
    while (i != 1 && rounds[i] == before[i]) usleep(1000);
  puts(word);
  fflush(stdout);
}

__attribute__((noinline)) static void wait_here(int n) {
  if (n == 1) say_when_all_are_here("ready");
  while (access("stop", F_OK) != 0) {
    busy_page[n * 4096] = (unsigned char)++rounds[n];
    if (n == 1 && unlink("speak") == 0) say_when_all_are_here("here");
    usleep(2000);
  }
}

__attribute__((noinline)) static void inner_of_thread(int n) {
  wait_here(n);
  __asm__ volatile("");
}

static void *thread_body(void *number) {
  inner_of_thread((int)(long)number);
  __asm__ volatile("");
  return number;
}

__attribute__((noinline)) static void middle_of_main(void) {
  wait_here(0);
  __asm__ volatile("");
}

int main(void) {
  pthread_t threads[THREADS];
  FILE *gone = tmpfile();
  fputs("contents of a file without a name\n", gone);
  fflush(gone);
  known_answer = 4711;
  on_the_heap = strdup("words on the heap");
  busy_page = calloc(THREADS + 1, 4096);
  for (long i = 0; i < THREADS; ++i) pthread_create(&threads[i], NULL, thread_body, (void *)(i + 1));
  middle_of_main();
  for (int i = 0; i < THREADS; ++i) pthread_join(threads[i], NULL);
  puts(known_answer == 4711 && strcmp(on_the_heap, "words on the heap") == 0 ? "ok" : "wrong");
  return 0;
}
