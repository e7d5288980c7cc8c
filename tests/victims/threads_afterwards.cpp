// SPDX-License-Identifier: MIT
// What a program with threads does after a restart: more threads, fork, ids changed in all threads,
// signals to each by the ids it has kept, a detached thread that ends, exec in a child.
//
// Fidelity: thread | pthread_create, fork, pthread_kill, tgkill with kept ids, setuid and its kin in all threads, afterwards | kept
#include <dirent.h>
#include <sys/wait.h>

#include <vector>

#include "threads.hpp"

namespace {

using victim::lost;

constexpr int threads = 6;
pid_t ids[threads];
thread_local std::atomic<int>* own_count;
std::atomic<int> received[threads];
std::atomic<int> next{0};
std::atomic<int> atfork{0};
std::atomic<int> detached_ended{0};

// What the line of status says, for each thread.
std::vector<std::string> of_all_threads(const char* key) {
  std::vector<std::string> found;
  DIR* directory = opendir("/proc/self/task");
  while (dirent* entry = readdir(directory)) {
    if (entry->d_name[0] == '.') continue;
    const std::string text =
        victim::slurp((std::string("/proc/self/task/") + entry->d_name + "/status").c_str());
    const size_t at = text.find(key);
    found.push_back(text.substr(at, text.find('\n', at) - at));
  }
  closedir(directory);
  return found;
}

void expect_in_all(const char* what, const char* key, const std::string& wanted) {
  const auto found = of_all_threads(key);
  if (found.size() < threads + 1) lost("%s: only %zu threads", what, found.size());
  for (const std::string& line : found)
    if (line != wanted) lost("%s: a thread has %s", what, line.c_str());
}

void change_ids() {
  if (geteuid() == 0) {
    if (setegid(65534) != 0) return lost("setegid: %s", strerror(errno));
    expect_in_all("setegid", "Gid:", "Gid:\t0\t65534\t0\t65534");
    if (setegid(0) != 0) return lost("setegid: %s", strerror(errno));
    expect_in_all("setegid back", "Gid:", "Gid:\t0\t0\t0\t0");
  } else {
    if (setuid(getuid()) != 0) lost("setuid: %s", strerror(errno));
    if (setresgid(static_cast<gid_t>(-1), getgid(), static_cast<gid_t>(-1)) != 0)
      lost("setresgid: %s", strerror(errno));
  }
}

void fork_and_wait() {
  pthread_atfork([] { ++atfork; }, [] { ++atfork; }, [] { atfork = atfork + 10; });
  const pid_t self = getpid();
  const pid_t child = fork();
  if (child == 0) {
    // One thread, with the state of the one that has forked, and able to begin more.
    int before = atfork;
    int result = 0;
    void* value =
        victim::join(victim::start([] { return reinterpret_cast<void*>(5); }), "a thread");
    result = before == 11 && value == reinterpret_cast<void*>(5) && getppid() == self &&
                     of_all_threads("Pid:").size() == 1
                 ? 7
                 : 8;
    _exit(result);
  }
  int status = 0;
  pid_t ended = child < 0 ? -1 : waitpid(child, &status, 0);
  if (ended != child || !WIFEXITED(status) || WEXITSTATUS(status) != 7)
    lost("fork: child %d, waited %d, status %#x, errno %d", child, ended, status, errno);
  victim::expect_equal("atfork", 2, atfork.load());
  const pid_t other = fork();
  if (other == 0) {
    execl("/bin/sh", "sh", "-c", "exit 9", nullptr);
    _exit(1);
  }
  status = 0;
  if (waitpid(other, &status, 0) != other || !WIFEXITED(status) || WEXITSTATUS(status) != 9)
    lost("exec in a child: status %#x", status);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_handler = [](int) {
    if (own_count) ++*own_count;
  };
  action.sa_flags = SA_RESTART;
  sigaction(SIGUSR1, &action, nullptr);
  const pid_t self = getpid();
  std::vector<pthread_t> running;
  for (int i = 0; i < threads; ++i)
    running.push_back(victim::start([i] {
      own_count = &received[i];
      ids[i] = gettid();
      victim::arrive();
      victim::wait_for_stop();
      if (gettid() != ids[i]) lost("thread %d: its id is %d instead of %d", i, gettid(), ids[i]);
    }));
  pthread_attr_t detached;
  pthread_attr_init(&detached);
  pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
  victim::start(
      [] {
        victim::arrive();
        victim::wait_for_stop();
        ++detached_ended;
      },
      &detached);
  victim::gather(threads + 1);
  victim::rest_until_stop();

  if (getpid() != self) lost("the process id is %d instead of %d", getpid(), self);
  // Before they are told to end.
  for (int i = 0; i < threads; ++i) {
    if (pthread_kill(running[static_cast<size_t>(i)], SIGUSR1) != 0) lost("pthread_kill");
    for (int tries = 0; received[i] < 1 && tries < 5000; ++tries) usleep(1000);
    if (syscall(SYS_tgkill, self, ids[i], SIGUSR1) != 0) lost("tgkill: %s", strerror(errno));
    for (int tries = 0; received[i] < 2 && tries < 5000; ++tries) usleep(1000);
    victim::expect_equal("signals of a thread", 2, static_cast<uint64_t>(received[i].load()));
  }
  change_ids();
  fork_and_wait();
  std::vector<pthread_t> fresh;
  for (uintptr_t i = 0; i < 16; ++i)
    fresh.push_back(victim::start([i] { return reinterpret_cast<void*>(i * i + 1); }));
  for (uintptr_t i = 0; i < 16; ++i)
    victim::expect_equal("what a new thread returns", i * i + 1,
                         reinterpret_cast<uintptr_t>(victim::join(fresh[i], "a new thread")));
  victim::tell_all();
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  for (int tries = 0; detached_ended == 0 && tries < 5000; ++tries) usleep(1000);
  victim::expect_equal("detached threads that have ended", 1,
                       static_cast<uint64_t>(detached_ended.load()));
  // The stack of a thread that has ended is used again only when the kernel has cleared its word.
  for (int i = 0; i < 200; ++i) victim::join_well(victim::start([] {}), "a short thread");
  return victim::finish();
}
