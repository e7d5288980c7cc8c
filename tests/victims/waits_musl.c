// SPDX-License-Identifier: MIT
// Waits through another C library, whose calls go through one place that forgets their number.
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static const long long nap = 60000000;  // nanoseconds

static int wait_poll(void) {
  struct pollfd fd = {0, POLLIN, 0};
  return poll(&fd, 1, (int)(nap / 1000000)) == 0;
}
static int wait_ppoll(void) {
  struct pollfd fd = {0, POLLIN, 0};
  struct timespec time = {0, nap};
  sigset_t mask;
  sigemptyset(&mask);
  return ppoll(&fd, 1, &time, &mask) == 0;
}
static int wait_select(void) {
  struct timeval time = {0, nap / 1000};
  return select(0, NULL, NULL, NULL, &time) == 0;
}
static int wait_nanosleep(void) {
  struct timespec time = {0, nap}, rest;
  return nanosleep(&time, &rest) == 0;
}
static int wait_clock_nanosleep(void) {
  struct timespec time = {0, nap};
  return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL) == 0;
}
static int wait_sigtimedwait(void) {
  struct timespec time = {0, nap};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR2);
  sigprocmask(SIG_BLOCK, &set, NULL);
  return sigtimedwait(&set, NULL, &time) == -1 && errno == EAGAIN;
}

static const struct {
  const char* name;
  int (*call)(void);
} calls[] = {{"poll", wait_poll},
             {"ppoll", wait_ppoll},
             {"select", wait_select},
             {"nanosleep", wait_nanosleep},
             {"clock_nanosleep", wait_clock_nanosleep},
             {"sigtimedwait", wait_sigtimedwait}};

static long long now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000000000LL + time.tv_nsec;
}

int main(int count, char** values) {
  int (*call)(void) = NULL;
  for (unsigned i = 0; count > 2 && i < sizeof calls / sizeof *calls; ++i)
    if (strcmp(calls[i].name, values[2]) == 0) call = calls[i].call;
  if (call == NULL) return 2;
  if (write(1, "ready\n", 6) != 6) return 3;
  while (access(values[1], F_OK) != 0) {
    const long long start = now();
    errno = 0;
    const int right = call();
    const int error = errno;
    const long long took = now() - start;
    if (right && took >= nap - 1000000) continue;
    dprintf(1, "lost: %s: errno %d after %lld us\n", values[2], error, took / 1000);
    return 1;
  }
  return write(1, "ok\n", 3) == 3 ? 0 : 3;
}
