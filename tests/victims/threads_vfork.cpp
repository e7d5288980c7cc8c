// SPDX-License-Identifier: MIT
// A thread is inside vfork until there is a file of the name in the second argument; another works
// on. tests/e2e/threads.py knows what a checkpoint says meanwhile.
#include <sys/wait.h>

#include "threads.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  const char* const until = count > 2 ? values[2] : "/";
  std::atomic<int> child_ended{0};
  const pthread_t thread = victim::start([&] {
    victim::arrive();
    const pid_t child = vfork();
    if (child == 0) {
      const timespec moment{0, 10'000'000};
      while (syscall(SYS_access, until, F_OK) != 0) syscall(SYS_nanosleep, &moment, nullptr);
      _exit(3);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 3)
      victim::lost("vfork: status %#x, errno %d", status, errno);
    victim::say("waited\n");
    child_ended = 1;
    victim::wait_for_stop();
  });
  victim::gather(1);
  usleep(20'000);
  victim::work_until_stop();
  victim::tell_all();
  victim::join(thread, "the thread with vfork");
  victim::expect_equal("children that have ended", 1, static_cast<uint64_t>(child_ended.load()));
  return victim::finish();
}
