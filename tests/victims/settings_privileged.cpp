// SPDX-License-Identifier: MIT
// What only root may ask for: real-time and deadline scheduling, a nice below zero, a protected
// score, I/O in real time. And what nobody has touched stays at its default.
//
// Fidelity: settings | real-time and deadline scheduling, nice below zero | kept for root
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "victim.hpp"

namespace {
struct attributes {
  uint32_t size, policy;
  uint64_t flags;
  int32_t nice;
  uint32_t priority;
  uint64_t runtime, deadline, period;
  uint32_t util_min, util_max;
  bool operator==(const attributes&) const = default;
};
attributes current() {
  attributes a{};
  if (syscall(SYS_sched_getattr, 0, &a, sizeof a, 0) != 0) victim::broken("sched_getattr");
  return a;
}
}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  if (geteuid() != 0) victim::skip("needs root");
  const bool deadline = getpid() % 2 == 0;
  attributes wanted{};
  wanted.size = sizeof wanted;
  if (deadline) {
    wanted.policy = 6;
    wanted.runtime = 30'000'000, wanted.deadline = 90'000'000, wanted.period = 100'000'000;
  } else {
    wanted.policy = SCHED_RR;
    wanted.priority = 3;
  }
  if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0) {
    wanted = {};
    wanted.size = sizeof wanted;
    wanted.nice = -5;
    if (syscall(SYS_sched_setattr, 0, &wanted, 0) != 0)
      victim::skip("neither real-time scheduling nor a nice below zero here");
  }
  syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4);
  const long io = syscall(SYS_ioprio_get, 1, 0);
  const attributes before = current();
  const long slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  cpu_set_t all, now;
  sched_getaffinity(0, sizeof all, &all);
  victim::ready();
  // A thread of high priority must not keep the machine from those who test it.
  while (!victim::stop_requested()) usleep(1000);
  const attributes after = current();
  if (after != before)
    victim::lost("scheduling: policy %u nice %d priority %u runtime %lu", after.policy, after.nice,
                 after.priority, static_cast<unsigned long>(after.runtime));
  victim::expect_equal("I/O priority", static_cast<uint64_t>(io),
                       static_cast<uint64_t>(syscall(SYS_ioprio_get, 1, 0)));
  victim::expect_equal("timer slack", static_cast<uint64_t>(slack),
                       static_cast<uint64_t>(prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0)));
  sched_getaffinity(0, sizeof now, &now);
  if (!CPU_EQUAL(&all, &now)) victim::lost("the affinity nobody had set");
  return victim::finish();
}
