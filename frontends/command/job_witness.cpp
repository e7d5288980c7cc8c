// SPDX-License-Identifier: MIT
#include "job_witness.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstring>

#include "job_image.hpp"

namespace ckpt::command {
namespace {

constexpr unsigned char all_is_over = 0;

void close_all_but(int first, int second, int third) {
  int kept[] = {2, first, second, third};
  std::ranges::sort(kept);
  unsigned from = 0;
  for (const int fd : kept) {
    if (fd < 0) continue;
    if (static_cast<unsigned>(fd) > from) (void)syscall(SYS_close_range, from, fd - 1, 0);
    from = static_cast<unsigned>(fd) + 1;
  }
  (void)syscall(SYS_close_range, from, UINT_MAX, 0);
}

[[noreturn]] void watch(int channel, int program, const std::string& name, job_lock& lock) {
  (void)prctl(PR_SET_NAME, "ckpt-witness");
  close_all_but(channel, program, lock.fd());
  for (;;) {
    unsigned char signal = 0;
    const ssize_t got = recv(channel, &signal, 1, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got != 1) break;
    if (signal == all_is_over) _exit(0);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    const timespec at_once{};
    const unsigned char answer = sigtimedwait(&one, nullptr, &at_once) == signal;
    (void)send(channel, &answer, 1, MSG_NOSIGNAL);
  }
  pollfd ended{program, POLLIN, 0};
  if (poll(&ended, 1, 0) == 0) {
    (void)syscall(SYS_pidfd_send_signal, program, SIGKILL, nullptr, 0);
    const std::string line = "ckpt: the ckpt that started " + name +
                             " was killed, and so was the program; start it again\n";
    if (write(2, line.data(), line.size()) < 0) _exit(1);
    (void)poll(&ended, 1, 1000);
  }
  lock.remove();
  _exit(0);
}

}  // namespace

bool job_witness::start(int program, const std::string& name, job_lock& lock) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return false;
  for (int& end : ends)
    if (const int moved = fcntl(end, F_DUPFD_CLOEXEC, 3); moved >= 0) {
      close(end);
      end = moved;
    }
  pid_ = fork();
  if (pid_ == 0) {
    close(ends[0]);
    watch(ends[1], program, name, lock);
  }
  close(ends[1]);
  channel_ = ends[0];
  return pid_ > 0;
}

bool job_witness::went_to_group(int signal) {
  // Whoever signals a process group holds a lock until every member has the signal. This call takes
  // it for writing, and then finds no such group.
  (void)setpgid(0, INT_MAX);
  const auto question = static_cast<unsigned char>(signal);
  unsigned char answer = 0;
  if (send(channel_, &question, 1, MSG_NOSIGNAL) != 1) return false;
  while (recv(channel_, &answer, 1, 0) < 0)
    if (errno != EINTR) return false;
  return answer != 0;
}

void job_witness::end() {
  if (pid_ <= 0) return;
  (void)send(channel_, &all_is_over, 1, MSG_NOSIGNAL);
  close(channel_);
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  pid_ = -1;
}

}  // namespace ckpt::command
