// SPDX-License-Identifier: MIT
// A System V segment whose id is removed: attached twice, and detached by shmdt afterwards.
//
// Fidelity: memory | System V shared memory whose id is removed (IPC_RMID), every attachment | kept; with an id that others may use it is refused
#include <sys/mman.h>
#include <sys/shm.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr size_t length = 10 * 4096 + 100;
  const int id = shmget(IPC_PRIVATE, length, IPC_CREAT | 0600);
  if (id < 0) victim::skip("no System V shared memory here");
  auto* first = static_cast<unsigned char*>(shmat(id, nullptr, 0));
  auto* second = static_cast<unsigned char*>(shmat(id, nullptr, 0));
  if (first == reinterpret_cast<void*>(-1) || second == reinterpret_cast<void*>(-1))
    victim::broken("shmat");
  shmctl(id, IPC_RMID, nullptr);
  victim::fill(first, length, 1);
  victim::work_until_stop();
  victim::expect_filled("first", first, length, 1);
  victim::expect_filled("second", second, length, 1);
  first[4096] = 9;
  if (second[4096] != 9) victim::lost("no longer shared");
  if (victim::mapping_of(first).permissions != "rw-s") victim::lost("no longer shared in maps");
  if (shmdt(first) != 0) victim::lost("it cannot be detached");
  if (second[4096] != 9) victim::lost("the other went too");
  if (shmdt(second) != 0) victim::lost("the other cannot be detached");
  return victim::finish();
}
