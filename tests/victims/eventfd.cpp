// SPDX-License-Identifier: MIT
// Counters of eventfd(2): their counts, also one beyond 32 bits, what reading takes from each, and
// their flags.
//
// Fidelity: descriptors | eventfd: count, semaphore or not, flags | kept
#include <fcntl.h>
#include <sys/eventfd.h>

#include "victim.hpp"

namespace {

uint64_t taken(int fd) {
  uint64_t value = 0;
  return read(fd, &value, sizeof value) == sizeof value ? value : ~uint64_t{0};
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  const int plain = eventfd(7, EFD_NONBLOCK);
  const int semaphore = eventfd(3, EFD_SEMAPHORE | EFD_NONBLOCK | EFD_CLOEXEC);
  const int empty = eventfd(0, EFD_NONBLOCK);
  const int one = eventfd(1, EFD_SEMAPHORE | EFD_NONBLOCK);
  const int huge = eventfd(0, 0);
  const int copy = dup(plain);
  const uint64_t most = 0xffff'ffff'ffff'fffe;
  if (plain < 0 || semaphore < 0 || empty < 0 || one < 0 || huge < 0 || copy < 0)
    victim::broken("eventfd");
  if (write(huge, &most, sizeof most) != sizeof most) victim::broken("write");
  victim::work_until_stop();

  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(semaphore, F_GETFD));
  victim::expect_equal("no close-on-exec", 0, fcntl(plain, F_GETFD));
  victim::expect_equal("O_NONBLOCK", O_NONBLOCK, fcntl(plain, F_GETFL) & O_NONBLOCK);
  victim::expect_equal("no O_NONBLOCK", 0, fcntl(huge, F_GETFL) & O_NONBLOCK);
  const uint64_t two = 2;
  if (write(copy, &two, sizeof two) != sizeof two) victim::lost("the dup cannot be written");
  victim::expect_equal("the count and what its dup has added", 9, taken(plain));
  for (int i = 0; i < 3; ++i) victim::expect_equal("the semaphore gives", 1, taken(semaphore));
  victim::expect_equal("the semaphore is used up", ~uint64_t{0}, taken(semaphore));
  victim::expect_equal("nothing in the empty one", ~uint64_t{0}, taken(empty));
  if (write(empty, &two, sizeof two) != sizeof two) victim::lost("the empty one cannot be written");
  victim::expect_equal("the empty one is no semaphore", 2, taken(empty));
  victim::expect_equal("the semaphore of one", 1, taken(one));
  if (write(one, &two, sizeof two) != sizeof two) victim::lost("the one cannot be written");
  victim::expect_equal("it is still a semaphore", 1, taken(one));
  victim::expect_equal("the largest count", most, taken(huge));
  return victim::finish();
}
