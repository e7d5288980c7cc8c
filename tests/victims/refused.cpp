// SPDX-License-Identifier: MIT
// Holds one thing that cannot be saved, named by the second argument, uses it as long as it runs,
// and checks at the end that a refused checkpoint has left it alone.
#include <fcntl.h>
#include <pthread.h>
#include <mqueue.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "victim.hpp"

static void announce(const char* format, long value) {
  char text[128];
  snprintf(text, sizeof text, format, value);
  victim::say(text);
}

static int other_thread;

static int finish_socket(int* pair) {
  char byte = 0;
  if (write(pair[0], "x", 1) != 1 || read(pair[1], &byte, 1) != 1 || byte != 'x')
    victim::lost("the socket");
  return victim::finish();
}

int main(int count, char** values) {
  victim::begin(count, values);
  const std::string kind = count > 2 ? values[2] : "";
  if (kind == "socket") {
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) victim::broken("socketpair");
    announce("fd %ld\n", pair[0]);
    victim::work_until_stop();
    return finish_socket(pair);
  }
  if (kind == "threads") {
    pthread_t other;
    if (pthread_create(&other, nullptr, [](void*) -> void* {
          while (!victim::stop_requested()) usleep(2000);
          return &other_thread;
        }, nullptr) != 0)
      victim::broken("pthread_create");
    victim::work_until_stop();
    void* result = nullptr;
    if (pthread_join(other, &result) != 0 || result != &other_thread) victim::lost("the thread");
    return victim::finish();
  }
  if (kind == "child" || kind == "zombie") {
    pid_t child = fork();
    if (child == 0) {
      if (kind == "zombie") _exit(5);
      while (!victim::stop_requested()) usleep(2000);
      _exit(5);
    }
    if (kind == "zombie") {
      siginfo_t info{};
      waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT);
    }
    announce("child %ld\n", child);
    victim::work_until_stop();
    int status = 0;
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 5)
      victim::lost("the child: status %#x", static_cast<unsigned>(status));
    if (waitpid(-1, &status, __WALL) != -1 || errno != ECHILD)
      victim::lost("a child that the program has not started");
    return victim::finish();
  }
  if (kind == "shm") {
    int id = shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0600);
    if (id < 0) victim::skip("no System V shared memory here");
    auto* memory = static_cast<unsigned char*>(shmat(id, nullptr, 0));
    victim::fill(memory, 8192, 1);
    victim::work_until_stop();
    victim::expect_filled("the segment", memory, 8192, 1);
    shmctl(id, IPC_RMID, nullptr);
    return victim::finish();
  }
  if (kind == "packets") {
    int ends[2];
    if (pipe2(ends, O_DIRECT) != 0) victim::broken("pipe2");
    if (write(ends[1], "ab", 2) != 2 || write(ends[1], "cd", 2) != 2) victim::broken("write");
    announce("fd %ld\n", ends[1]);  // the flag is the writing end's
    victim::work_until_stop();
    char text[8];
    if (read(ends[0], text, sizeof text) != 2 || read(ends[0], text, sizeof text) != 2)
      victim::lost("the packets");
    return victim::finish();
  }
  if (kind == "other-name") {
    const int file = open("first.bin", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (file < 0 || link("first.bin", "second.bin") != 0 || unlink("first.bin") != 0)
      victim::broken("second.bin");
    announce("fd %ld\n", file);
    victim::work_until_stop();
    if (write(file, "abc", 3) != 3 || victim::slurp("second.bin") != "abc")
      victim::lost("what was written");
    return victim::finish();
  }
  if (kind == "namespace") {
    const int file = open("/proc/self/ns/uts", O_RDONLY);
    if (file < 0) victim::skip("no namespaces here");
    announce("fd %ld\n", file);
    victim::work_until_stop();
    return victim::finish();
  }
  if (kind == "descriptor-table") {
    // A data segment of the program's own: entry 3, at 4096, 32 bits, in pages.
    const unsigned entry[4] = {3, 4096, 0xfffff, 0x51};
    if (syscall(SYS_modify_ldt, 1, entry, sizeof entry) != 0) victim::skip("no modify_ldt here");
    victim::work_until_stop();
    return victim::finish();
  }
  if (kind == "page-zero") {
    void* zero = mmap(nullptr, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
    if (zero == MAP_FAILED) victim::skip("page 0 cannot be mapped here");
    victim::work_until_stop();
    return victim::finish();
  }
  int fd = -1;
  if (kind == "timerfd") {
    fd = timerfd_create(CLOCK_MONOTONIC, 0);
    itimerspec time{{0, 0}, {0, 1'000'000}};
    timerfd_settime(fd, 0, &time, nullptr);
  } else if (kind == "eventfd") {
    fd = eventfd(3, 0);
  } else if (kind == "epoll") {
    fd = epoll_create1(0);
  } else if (kind == "mqueue") {
    mq_attr limits{};
    limits.mq_maxmsg = 1, limits.mq_msgsize = 8;
    const std::string name = "/ckpt-victim-" + std::to_string(getpid());
    fd = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600, &limits);
    if (fd < 0 || mq_send(fd, "12345678", 8, 0) != 0) victim::skip("no POSIX message queues here");
    mq_unlink(name.c_str());
  }
  if (fd < 0) victim::broken("what to hold");
  announce("fd %ld\n", fd);
  victim::work_until_stop();
  if (kind == "mqueue") {
    char text[8];
    if (mq_receive(fd, text, sizeof text, nullptr) != 8 || memcmp(text, "12345678", 8) != 0)
      victim::lost("what it holds");
  } else if (kind != "epoll") {
    uint64_t value = 0;
    if (read(fd, &value, 8) != 8 || value == 0) victim::lost("what it holds");
  } else {
    epoll_event event{};
    if (epoll_wait(fd, &event, 1, 1) != 0) victim::lost("what it holds");
  }
  return victim::finish();
}
