// SPDX-License-Identifier: MIT
// As many descriptors as the limit allows, up to twenty thousand: of one file, dups, pipes, pairs
// of sockets, eventfds, with an epoll that watches thousands.
//
// Fidelity: descriptors | thousands of descriptors, pipes, sockets and entries of an epoll | kept
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <vector>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  size_t room = limit.rlim_max - 20;
  if (room > 20'000) room = 20'000;
  const int queue = epoll_create1(0);
  std::vector<int> pipes, sockets, events, files;
  const auto watch = [&](int fd) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.fd = fd;
    if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &e) != 0) victim::broken("epoll_ctl");
  };
  // A user may hold 1,024 full pipes.
  for (size_t i = 0; i < room / 100; ++i) {
    int ends[2];
    if (pipe(ends) != 0) victim::broken("pipe");
    if (write(ends[1], &i, sizeof i) != sizeof i) victim::broken("write");
    pipes.insert(pipes.end(), {ends[0], ends[1]});
  }
  for (size_t i = 0; i < room / 10; ++i) {
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0) victim::broken("socketpair");
    if (write(ends[0], &i, sizeof i) != sizeof i) victim::broken("write");
    sockets.insert(sockets.end(), {ends[0], ends[1]});
    watch(ends[1]);
  }
  for (size_t i = 0; i < room / 10; ++i) {
    events.push_back(eventfd(static_cast<unsigned>(i), EFD_NONBLOCK));
    if (events.back() < 0) victim::broken("eventfd");
    watch(events.back());
  }
  const size_t left = room - pipes.size() - sockets.size() - events.size();
  for (size_t i = 0; i < left; ++i) {
    files.push_back(i % 3 == 0 ? open("/proc/self/exe", O_RDONLY | O_CLOEXEC) : dup(files.back()));
    if (files.back() < 0) victim::broken("open");
    if (i % 3 == 0) lseek(files.back(), static_cast<off_t>(i), SEEK_SET);
  }
  victim::work_until_stop();

  for (size_t i = 0; i < pipes.size() / 2; ++i) {
    size_t got = 0;
    if (read(pipes[2 * i], &got, sizeof got) != sizeof got || got != i)
      victim::lost("pipe %zu holds %zu", i, got);
  }
  epoll_event event[64];
  size_t seen = 0;
  for (;;) {
    const int n = epoll_wait(queue, event, 64, 0);
    if (n <= 0) break;
    for (int i = 0; i < n; ++i) {
      uint64_t drained;
      if (read(event[i].data.fd, &drained, sizeof drained) == sizeof drained) ++seen;
    }
  }
  victim::expect_equal("events", sockets.size() / 2 + events.size() - 1, seen);
  for (size_t i = 0; i < files.size(); ++i) {
    victim::expect_equal("an offset", i - i % 3,
                         static_cast<uint64_t>(lseek(files[i], 0, SEEK_CUR)));
    victim::expect_equal("close-on-exec", i % 3 == 0 ? FD_CLOEXEC : 0, fcntl(files[i], F_GETFD));
  }
  return victim::finish();
}
