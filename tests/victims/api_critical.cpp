// SPDX-License-Identifier: MIT
// Threads that write two numbers one after the other, between ckpt_hold and ckpt_release: no image
// may have one without the other, whatever moment the checkpoint is asked for. A function called in
// the restart, while they all stand still, looks.
//
// Fidelity: API | critical sections of several threads, at random moments of a checkpoint | kept
#include "ckpt.h"

#include <pthread.h>

#include "victim.hpp"

static constexpr int threads = 3;
static volatile uint64_t pairs[threads][2];
static std::atomic<bool> stop;
static std::atomic<int> looked;

static void look(void*) {
  ++looked;
  for (const auto& pair : pairs)
    if (pair[0] != pair[1]) victim::lost("a critical section was cut in two");
}

static void* work(void* argument) {
  volatile uint64_t* pair = pairs[reinterpret_cast<intptr_t>(argument)];
  while (!stop) {
    if (ckpt_hold() < 1) victim::lost("ckpt_hold");
    pair[0] = pair[0] + 1;
    for (int i = 0; i < 300; ++i) asm volatile("" ::: "memory");
    pair[1] = pair[1] + 1;
    if (ckpt_release() < 0) victim::lost("ckpt_release");
    for (int i = 0; i < 300; ++i) asm volatile("" ::: "memory");
  }
  return nullptr;
}

int main(int count, char** values) {
  victim::begin(count, values);
  if (!ckpt_present()) victim::lost("no library");
  ckpt_on_restart(look, nullptr);
  pthread_t all[threads];
  for (intptr_t i = 0; i < threads; ++i)
    pthread_create(&all[i], nullptr, work, reinterpret_cast<void*>(i));
  victim::work_until_stop();
  stop = true;
  for (pthread_t each : all) pthread_join(each, nullptr);
  victim::expect_equal("looks", ckpt_generation(), static_cast<uint64_t>(looked.load()));
  return victim::finish();
}
