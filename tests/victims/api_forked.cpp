// SPDX-License-Identifier: MIT
// A thread forks while another one's checkpoint is on its way: the child has not that thread, and
// must wait for nobody. It holds nothing, may ask for a checkpoint of its own, and what was put off
// for the parent is not its business.
#include "ckpt.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "victim.hpp"

static char* child_image;
static bool forked;

static void* fork_here(void*) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(20);
    forked = true;
    const int result = ckpt_ckpt(child_image);
    char text[300];
    ckpt_error(text, sizeof text);
    if (result != 0) victim::lost("the child's checkpoint: %s", text);
    if (ckpt_hold() != 1 || ckpt_release() != 0) victim::lost("the child's hold");
    _exit(victim::losses == 0 ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status != 0) victim::lost("the child ended with %x", status);
  forked = true;
  return nullptr;
}

static void before(void*) {
  if (forked) return;
  pthread_t other;
  pthread_create(&other, nullptr, fork_here, nullptr);
  pthread_join(other, nullptr);
}

int main(int count, char** values) {
  if (count < 3) return 2;
  child_image = values[2];
  ckpt_on_preckpt(before, nullptr);
  if (ckpt_ckpt(values[1]) != 0) victim::lost("the call");
  if (!forked) victim::lost("nothing was forked");
  return victim::finish();
}
