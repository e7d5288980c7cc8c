// SPDX-License-Identifier: MIT
// A program goes back to an earlier image of itself: IMAGE BAD, the second a damaged one that the
// test has laid there. What cannot be restarted is refused before anything is lost, alarms
// included.
#include "ckpt.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "victim.hpp"

static volatile int attempts;

static void refuse(char* name, const char* word) {
  char text[400];
  ckpt_restart(name);
  if (ckpt_error(text, sizeof text) == 0 || !strstr(text, word))
    victim::lost("%s: the refusal does not say %s: %s", name, word, text);
}

// One byte of the image, in the middle of its data.
static void damage(const char* from, const char* to) {
  std::string all = victim::slurp(from);
  all[all.size() / 2] = static_cast<char>(all[all.size() / 2] ^ 1);
  const int fd = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
  if (fd < 0 || write(fd, all.data(), all.size()) != static_cast<ssize_t>(all.size()))
    victim::broken("the damaged image");
  close(fd);
}

static void* restart_here(void* name) {
  ckpt_restart(static_cast<char*>(name));
  return nullptr;
}

int main(int count, char** values) {
  if (count < 3) return 2;
  const pid_t pid = getpid();
  const int result = ckpt_ckpt(values[1]);
  if (result != 0) victim::lost("the checkpoint");
  if (ckpt_generation() == 1) {
    // The memory is the image's: attempts are not counted yet.
    victim::expect_equal("what was done since", 0, static_cast<uint64_t>(attempts));
    victim::expect_equal("the process", static_cast<uint64_t>(pid),
                         static_cast<uint64_t>(getpid()));
    itimerval left{};
    getitimer(ITIMER_REAL, &left);
    victim::expect_equal("the alarm of before", 0, static_cast<uint64_t>(left.it_value.tv_sec));
    return victim::finish();
  }
  attempts = 1;
  alarm(5000);
  damage(values[1], values[2]);
  refuse(values[2], "checksum mismatch");
  if (truncate(values[2], 100000) != 0) victim::broken("truncate");
  refuse(values[2], "cut off");
  char nothing[] = "not-there.ckpt", scheme[] = "other://x";
  refuse(nothing, "no such file");
  refuse(scheme, "has a scheme");
  if (alarm(5000) < 4000) victim::lost("the alarm");
  if (victim::losses != 0) return 1;
  victim::say("restarting\n");
  pthread_t other;
  pthread_create(&other, nullptr, restart_here, values[1]);
  pthread_join(other, nullptr);
  char text[400];
  ckpt_error(text, sizeof text);
  victim::lost("it came back: %s", text);
  return 1;
}
