// SPDX-License-Identifier: MIT
// Epolls that watch epolls, opened in either order, and one that several share.
//
// Fidelity: descriptors | epolls that watch epolls | kept
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "victim.hpp"

namespace {

void watch(int queue, int fd, uint32_t events, uint64_t data) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = data;
  if (epoll_ctl(queue, EPOLL_CTL_ADD, fd, &e) != 0) victim::broken("epoll_ctl");
}
void expect(const char* what, int queue, int wanted, uint64_t data) {
  epoll_event e{};
  const int n = epoll_wait(queue, &e, 1, 0);
  if (n != wanted || (n == 1 && e.data.u64 != data))
    victim::lost("%s: %d events, data %llu", what, n, static_cast<unsigned long long>(e.data.u64));
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  const int outer = epoll_create1(0);
  const int middle = epoll_create1(0);
  const int event = eventfd(0, 0);
  const int inner = epoll_create1(0);
  const int beside = epoll_create1(EPOLL_CLOEXEC);
  if (beside < 0) victim::broken("epoll_create1");
  watch(outer, middle, EPOLLIN, 1);
  watch(middle, inner, EPOLLIN, 2);
  watch(inner, event, EPOLLIN, 3);
  watch(beside, inner, EPOLLIN | EPOLLET, 4);
  victim::work_until_stop();

  expect("nothing has happened", outer, 0, 0);
  const uint64_t one = 1;
  if (write(event, &one, sizeof one) != sizeof one) victim::broken("write");
  expect("the outermost", outer, 1, 1);
  expect("the one between", middle, 1, 2);
  expect("the innermost", inner, 1, 3);
  expect("the one beside", beside, 1, 4);
  expect("the one beside, once more", beside, 0, 0);
  return victim::finish();
}
