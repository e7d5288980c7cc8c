// SPDX-License-Identifier: MIT
// A critical section: what asks for a checkpoint in it, in any thread, waits for the last release.
// A thread that begins to hold while another's checkpoint is on its way is respected, too. Its
// trigger is SIGUSR1, and its image is named by its first argument; with a second one it goes on
// after a checkpoint.
#include "ckpt.h"

#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>

#include "victim.hpp"

static const char* image;
static int before_calls, after_calls;
static volatile bool hold_in_callback, held_there;

static bool there() {
  return access(image, F_OK) == 0;
}

static void* hold_once(void*) {
  if (ckpt_hold() != 1) victim::lost("the other thread's hold");
  held_there = true;
  return nullptr;
}

static void before(void*) {
  ++before_calls;
  if (!hold_in_callback) return;
  // The checkpoint is on its way; another thread gets in between.
  hold_in_callback = false;
  pthread_t other;
  pthread_create(&other, nullptr, hold_once, nullptr);
  pthread_join(other, nullptr);
}
static void after(void*) {
  ++after_calls;
}

static void* send(void*) {
  pthread_kill(pthread_self(), SIGUSR1);
  return nullptr;
}

int main(int count, char** values) {
  if (count < 2) return 2;
  image = values[1];
  const bool goes_on = count > 2;
  char text[200];
  if (ckpt_release() != -1) victim::lost("a release without a hold");
  victim::expect_equal("hold", 1, static_cast<uint64_t>(ckpt_hold()));
  victim::expect_equal("hold again", 2, static_cast<uint64_t>(ckpt_hold()));
  raise(SIGUSR1);
  pthread_t other;
  pthread_create(&other, nullptr, send, nullptr);
  pthread_join(other, nullptr);
  if (there()) victim::lost("a checkpoint while held");
  if (ckpt_ckpt(nullptr) != -1 || there()) victim::lost("a call while held");
  if (ckpt_error(text, sizeof text) == 0 || !strstr(text, "ckpt_hold"))
    victim::lost("the refusal: %s", text);
  victim::expect_equal("release", 1, static_cast<uint64_t>(ckpt_release()));
  if (there()) victim::lost("a checkpoint while still held");
  victim::say("last release\n");
  const int left = ckpt_release();
  victim::expect_equal("last release", 0, static_cast<uint64_t>(left));
  if (!there()) victim::lost("no checkpoint by the last release");
  victim::expect_equal("restarted", goes_on ? 0 : 1, static_cast<uint64_t>(ckpt_restarted()));
  if (ckpt_error(text, sizeof text) != 0) victim::lost("the empty error: %s", text);
  if (goes_on) {
    unlink(image);
    ckpt_hold();
    ckpt_release();
    if (there()) victim::lost("a checkpoint that nobody has asked for");
    // Between the callbacks and the freeze.
    ckpt_on_preckpt(before, nullptr);
    ckpt_on_postckpt(after, nullptr);
    hold_in_callback = true;
    raise(SIGUSR1);
    if (!held_there || there() || before_calls != 1 || after_calls != 1)
      victim::lost("a checkpoint although a thread held: %d %d", before_calls, after_calls);
    victim::expect_equal("the release for the other", 0, static_cast<uint64_t>(ckpt_release()));
    if (!there() || before_calls != 2 || after_calls != 2)
      victim::lost("what was put off then: %d %d", before_calls, after_calls);
  }
  return victim::finish();
}
