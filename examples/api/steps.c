/* SPDX-License-Identifier: MIT
 *
 * Writes a line to a log at each of argv[1] steps. At step 10 it asks for a checkpoint, which its
 * socket would stop and its log outlive, if it had nothing to say. */
#include <ckpt.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static int log_fd, udp;

static struct ckptfd *entry_of(int fd) {
  struct ckptfdtbl *table = ckpt_fds();
  unsigned i;
  for (i = 0; table != NULL && i < table->nfd; ++i)
    if (table->fds[i].fd == fd) return &table->fds[i];
  return NULL;
}

/* The socket leads to somebody who will not be there. */
static void leave_socket_out(void *unused) {
  struct ckptfd *entry = entry_of(udp);
  (void)unused;
  if (entry != NULL) entry->treatment = CKPT_FD_IGNORE;
}

/* This program has one thread, and its checkpoint is a call: so malloc and free may be called here. */
static void follow_log(void *unused) {
  struct ckptfd *entry = entry_of(log_fd);
  (void)unused;
  if (entry == NULL || entry->u.reg == NULL || access("moved.log", F_OK) != 0) return;
  free(entry->u.reg->path);
  entry->u.reg->path = strdup("moved.log");
}

static void checkpoint(void) {
  char why[256];
  if (ckpt_ckpt("steps.ckpt") < 0) {
    ckpt_error(why, sizeof why);
    fprintf(stderr, "no checkpoint: %s\n", why);
    exit(1);
  }
  if (!ckpt_restarted()) return;
  printf("here again, restart %u\n", ckpt_generation());
  udp = socket(AF_INET, SOCK_DGRAM, 0);
}

int main(int argc, char **argv) {
  const long steps = argc > 1 ? atol(argv[1]) : 20;
  const struct timespec pause = {0, 20000000};
  long i;
  log_fd = open("steps.log", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0666);
  udp = socket(AF_INET, SOCK_DGRAM, 0);
  if (log_fd < 0 || udp < 0) return 1;
  printf("ckpt %s\n", ckpt_present() ? ckpt_version() : "is not here");
  fflush(stdout);
  ckpt_on_preckpt(leave_socket_out, NULL);
  ckpt_on_restart(follow_log, NULL);
  for (i = 1; i <= steps; ++i) {
    dprintf(log_fd, "step %ld\n", i);
    nanosleep(&pause, NULL);
    if (i == 10) checkpoint();
  }
  puts("done");
  return 0;
}
