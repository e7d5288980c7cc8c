// SPDX-License-Identifier: MIT
// Root's program becomes nobody for good, and asks for a checkpoint. When root restarts it, a
// function that is called then has no more rights than the program had, and neither has the program
// afterwards.
#include "ckpt.h"

#include <grp.h>

#include "victim.hpp"

static int called;

static void is_nobody(const char* where) {
  gid_t groups[8];
  const int count = getgroups(8, groups);
  if (geteuid() != 65534 || getegid() != 65534 || count != 1 || groups[0] != 1234)
    victim::lost("%s: user %d, group %d, %d groups", where, geteuid(), getegid(), count);
  if (access("/proc/1/mem", R_OK) == 0 && eaccess("/proc/1/mem", R_OK) == 0)
    victim::lost("%s: rights", where);
}
static void restarted(void*) {
  ++called;
  is_nobody("the function");
}

int main() {
  const gid_t group = 1234;
  if (setgroups(1, &group) != 0 || setresgid(65534, 65534, 65534) != 0 ||
      setresuid(65534, 65534, 65534) != 0)
    victim::broken("nobody");
  ckpt_on_restart(restarted, nullptr);
  if (ckpt_ckpt(nullptr) != 0) victim::lost("the call");
  is_nobody("the program");
  uid_t real, effective, saved;
  getresuid(&real, &effective, &saved);
  if (real != 65534 || saved != 65534)
    victim::lost("the program: users %d %d %d", real, effective, saved);
  victim::expect_equal("calls", 1, static_cast<uint64_t>(called));
  return victim::finish();
}
