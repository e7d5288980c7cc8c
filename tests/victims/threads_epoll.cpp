// SPDX-License-Identifier: MIT
// Threads in the waits of event loops: epoll_wait with and without a time limit, reads of an
// eventfd and of a timerfd, a socketpair.
//
// Fidelity: thread | waiting in epoll_wait, in read of an eventfd, timerfd or socketpair | kept; no EINTR, time limits never early
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#include <vector>

#include "sleeping.hpp"
#include "threads.hpp"

namespace {

using victim::lost;

int check(int fd) {
  if (fd < 0) victim::broken("a descriptor");
  return fd;
}
int epoll_on(int fd, uint64_t value) {
  const int loop = check(epoll_create1(EPOLL_CLOEXEC));
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = value;
  if (epoll_ctl(loop, EPOLL_CTL_ADD, fd, &event) != 0) victim::broken("epoll_ctl");
  return loop;
}
int event_loop = check(eventfd(0, EFD_CLOEXEC)), event_read = check(eventfd(0, EFD_CLOEXEC)),
    event_quiet = check(eventfd(0, EFD_CLOEXEC));
int ends[2];

void expect_told(const char* name, bool right) {
  int error = errno;
  if (!right) lost("%s: errno %d (%s)", name, error, strerror(error));
  if (victim::stopping == 0) lost("%s ended before anybody ended it", name);
}
void loop_for_ever() {
  const int loop = epoll_on(event_loop, 0x1122334455667788);
  victim::arrive();
  epoll_event event{};
  int found = epoll_wait(loop, &event, 1, -1);
  expect_told("epoll_wait", found == 1 && event.data.u64 == 0x1122334455667788);
}
void loop_timed() {
  const int loop = epoll_on(event_quiet, 1);
  victim::arrive();
  while (victim::stopping == 0)
    victim::sleep_once("epoll_wait", [&] {
      epoll_event event{};
      return epoll_wait(loop, &event, 1, victim::nap / 1'000'000) == 0;
    });
}
void read_event() {
  victim::arrive();
  uint64_t value = 0;
  expect_told("read of an eventfd", read(event_read, &value, 8) == 8 && value == 21);
}
void read_timer() {
  const int timer = check(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
  victim::arrive();
  while (victim::stopping == 0)
    victim::sleep_once("read of a timerfd", [&] {
      const itimerspec time{{0, 0}, victim::nap_spec()};
      uint64_t expirations = 0;
      return timerfd_settime(timer, 0, &time, nullptr) == 0 && read(timer, &expirations, 8) == 8 &&
             expirations == 1;
    });
}
void receive() {
  victim::arrive();
  char bytes[8] = {};
  expect_told("recv", recv(ends[0], bytes, sizeof bytes, 0) == 3 && memcmp(bytes, "end", 3) == 0);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) victim::broken("socketpair");
  const pthread_t running[] = {victim::start(loop_for_ever), victim::start(loop_timed),
                               victim::start(read_event), victim::start(read_timer),
                               victim::start(receive)};
  victim::gather(5);
  usleep(20'000);
  victim::rest_until_stop();
  victim::tell_all();
  uint64_t value = 1;
  if (write(event_loop, &value, 8) != 8) lost("write to an eventfd");
  value = 21;
  if (write(event_read, &value, 8) != 8) lost("write to an eventfd");
  if (send(ends[1], "end", 3, 0) != 3) lost("send");
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  return victim::finish();
}
