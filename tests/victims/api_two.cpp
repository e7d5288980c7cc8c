// SPDX-License-Identifier: MIT
// Two threads ask at one time: the second waits until the first one's image is complete. Under the
// same name one image serves both, under another name each has its own.
#include "ckpt.h"

#include <pthread.h>
#include <sys/syscall.h>

#include "victim.hpp"

static int calls;
static pid_t second_tid;
static char* second_name;
static int second_result = -2;
static int second_generation;
static pthread_t second_thread;

static void* second(void*) {
  __atomic_store_n(&second_tid, static_cast<pid_t>(syscall(SYS_gettid)), __ATOMIC_SEQ_CST);
  second_result = ckpt_ckpt(second_name);
  second_generation = static_cast<int>(ckpt_generation());
  return nullptr;
}

static bool waits(pid_t tid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/syscall", tid);
  const std::string text = victim::slurp(path);
  return text.rfind("202 ", 0) == 0;  // futex
}

static void before(void*) {
  ++calls;
  if (second_tid != 0) return;
  pthread_create(&second_thread, nullptr, second, nullptr);
  while (__atomic_load_n(&second_tid, __ATOMIC_SEQ_CST) == 0) usleep(1000);
  // It has created and started: from here it waits for nothing but the agent.
  while (!waits(second_tid)) usleep(1000);
}

int main(int count, char** values) {
  // IMAGE OTHER: the names of the two; with "same" for the second one, the first one's.
  if (count < 3) return 2;
  const bool same = strcmp(values[2], "same") == 0;
  second_name = same ? values[1] : values[2];
  ckpt_on_preckpt(before, nullptr);
  if (ckpt_ckpt(values[1]) != 0) victim::lost("the first call");
  pthread_join(second_thread, nullptr);
  victim::expect_equal("the second call", 0, static_cast<uint64_t>(second_result));
  victim::expect_equal("checkpoints", same ? 1 : 2, static_cast<uint64_t>(calls));
  if (access(values[1], F_OK) != 0) victim::lost("the first image");
  if (!same && access(values[2], F_OK) != 0) victim::lost("the second image");
  return victim::finish();
}
