// SPDX-License-Identifier: MIT
// An epoll(7) and everything that can be said of an entry: level and edge, EPOLLONESHOT before and
// after it has fired, EPOLLEXCLUSIVE, standard input, a number that is closed or another file's by
// now, one file under two numbers, one number with two files, the epoll itself under two numbers.
//
// Fidelity: descriptors | epoll: every entry with its events and data, also one whose number is closed or another file's by now | kept
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <vector>

#include "victim.hpp"

namespace {

int queue;

void add(int fd, uint32_t events, uint64_t data, int operation = EPOLL_CTL_ADD) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  if (epoll_ctl(queue, operation, fd, &e) != 0) victim::broken("epoll_ctl");
}
// The lines of fdinfo without what differs from one kernel object to the next.
std::vector<std::string> entries() {
  std::istringstream text(victim::slurp(("/proc/self/fdinfo/" + std::to_string(queue)).c_str()));
  std::vector<std::string> found;
  for (std::string line; std::getline(text, line);)
    if (line.starts_with("tfd:")) found.push_back(line.substr(0, line.find(" pos:")));
  std::sort(found.begin(), found.end());
  return found;
}
// What is ready now; at least once each, in any order.
std::map<uint64_t, uint32_t> ready() {
  std::map<uint64_t, uint32_t> found;
  epoll_event events[64];
  for (int round = 0; round < 3; ++round) {
    const int n = epoll_wait(queue, events, 64, 0);
    for (int i = 0; i < n; ++i) found[events[i].data.u64] = events[i].events;
  }
  return found;
}
void expect_ready(const char* what, uint64_t data, bool wanted) {
  const bool is = ready().contains(data);
  if (is != wanted) victim::lost("%s is %sready", what, is ? "" : "not ");
}
void put(int fd) {
  const uint64_t one = 1;
  if (write(fd, &one, sizeof one) != sizeof one) victim::broken("write");
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  queue = epoll_create1(EPOLL_CLOEXEC);
  const int copy = dup(queue);
  int ends[2], fired_ends[2];
  if (queue < 0 || copy < 0 || pipe(ends) != 0 || pipe(fired_ends) != 0) victim::broken("pipe");
  add(ends[0], EPOLLIN, 0xfedc'ba98'7654'3210);
  add(0, EPOLLIN | EPOLLRDHUP, 1);
  const int edge = eventfd(0, 0);
  add(edge, EPOLLIN | EPOLLET, 2);
  const int armed = eventfd(0, 0);
  add(armed, EPOLLIN | EPOLLONESHOT, 3);
  const int fired = eventfd(1, 0);
  add(fired, EPOLLIN | EPOLLONESHOT, 4);
  add(fired_ends[0], EPOLLIN | EPOLLONESHOT | EPOLLET, 5);
  put(fired_ends[1]);
  ready();
  char byte[8];
  if (read(fired_ends[0], byte, 8) != 8) victim::broken("read");
  const int exclusive = eventfd(0, 0);
  add(exclusive, EPOLLIN | EPOLLEXCLUSIVE, 6);
  // Registered as a number that is closed, and as one that another file has.
  const int kept = eventfd(0, 0);
  const int closed = fcntl(kept, F_DUPFD, 200);
  add(closed, EPOLLIN, 7);
  close(closed);
  const int moved = eventfd(0, 0);
  const int number = dup(moved);
  add(number, EPOLLIN, 8);
  const int other = eventfd(0, EFD_CLOEXEC);
  if (dup3(other, number, O_CLOEXEC) != number) victim::broken("dup3");
  close(other);
  add(number, EPOLLIN, 9);  // two entries of one number
  const int twice = eventfd(0, 0);
  const int second = dup(twice);
  add(twice, EPOLLIN, 10);
  add(second, EPOLLIN, 11);
  const int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  add(timer, EPOLLIN | EPOLLET, 12);
  const auto before = entries();
  if (before.size() != 13) victim::broken("entries");
  victim::work_until_stop();

  const auto now = entries();
  if (now != before) {
    for (const auto& line : before)
      if (std::find(now.begin(), now.end(), line) == now.end())
        victim::lost("entry %s", line.c_str());
    for (const auto& line : now)
      if (std::find(before.begin(), before.end(), line) == before.end())
        victim::lost("a new entry: %s", line.c_str());
  }
  for (const auto& [data, events] : ready())
    victim::lost("%#llx is ready for %x", static_cast<unsigned long long>(data), events);
  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(queue, F_GETFD));
  victim::expect_equal("close-on-exec of the dup", 0, fcntl(copy, F_GETFD));
  victim::expect_equal("close-on-exec of the number with two entries", FD_CLOEXEC,
                       fcntl(number, F_GETFD));
  if (fcntl(closed, F_GETFD) != -1) victim::lost("a closed number is open");
  put(ends[1]);
  expect_ready("the pipe", 0xfedc'ba98'7654'3210, true);
  put(edge);
  expect_ready("the edge", 2, true);
  expect_ready("the edge, once more,", 2, false);
  put(armed);
  expect_ready("the armed one", 3, true);
  expect_ready("the armed one, once more,", 3, false);
  put(fired);
  expect_ready("the fired one", 4, false);
  add(fired, EPOLLIN | EPOLLONESHOT, 4, EPOLL_CTL_MOD);
  expect_ready("the fired one, set again,", 4, true);
  close(fired_ends[1]);
  expect_ready("the fired pipe at its end", 5, false);
  put(exclusive);
  expect_ready("the exclusive one", 6, true);
  put(kept);
  expect_ready("the one whose number is closed", 7, true);
  put(moved);
  expect_ready("the one whose number is another's", 8, true);
  expect_ready("the other of that number", 9, false);
  put(number);
  expect_ready("the other of that number, written,", 9, true);
  put(twice);
  expect_ready("one of two numbers", 10, true);
  expect_ready("the other of two numbers", 11, true);
  itimerspec soon{{0, 0}, {0, 1}};
  timerfd_settime(timer, 0, &soon, nullptr);
  usleep(2000);
  expect_ready("the timer", 12, true);
  if (epoll_ctl(copy, EPOLL_CTL_DEL, edge, nullptr) != 0 || entries().size() != 12)
    victim::lost("the dup no longer shares its open file");
  return victim::finish();
}
