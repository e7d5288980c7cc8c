// SPDX-License-Identifier: MIT
//
// Functions of the program's run in a restart before the agent has given up what whoever restarts
// may do and the program may not: for as long, the thread is effectively the user that the program
// was.
#pragma once

#include "ckpt/format/walk.hpp"
#include "ckpt/state/credentials.hpp"

namespace ckpt::agent {

class effective_user {
 public:
  // Context: agent, in restored memory, the thread that calls the program's functions
  effective_user(bytes metadata, i32 saved_tid) {
    if (sys::geteuid() != 0) return;
    format::for_each<state::credentials>(metadata, [&](const state::credentials& c, bytes groups) {
      if (c.tid == saved_tid && c.effective_uid != 0) become(c, groups);
    });
  }
  ~effective_user() {
    if (!changed_) return;
    (void)sys::setresuid(same, 0, same);
    (void)sys::setresgid(same, group_, same);
    if (count_.ok()) (void)sys::setgroups(*count_, groups_);
    if (dumpable_.ok() && *dumpable_ == 1) (void)sys::prctl(sys::abi::pr_set_dumpable, 1, 0, 0, 0);
  }
  effective_user(const effective_user&) = delete;
  effective_user& operator=(const effective_user&) = delete;

 private:
  static constexpr u32 same = ~u32{0};
  static constexpr u32 capacity = 1024;

  void become(const state::credentials& c, bytes groups) {
    dumpable_ = sys::prctl(sys::abi::pr_get_dumpable, 0, 0, 0, 0);
    group_ = sys::getegid();
    count_ = sys::getgroups(capacity, groups_);
    changed_ = true;
    if (count_.ok())
      (void)sys::setgroups(c.group_count, reinterpret_cast<const u32*>(groups.data()));
    (void)sys::setresgid(same, c.effective_gid, same);
    (void)sys::setresuid(same, c.effective_uid, same);
  }

  bool changed_ = false;
  u32 group_ = 0;
  result<long> dumpable_ = errc::not_found;
  result<u32> count_ = errc::not_found;
  u32 groups_[capacity];
};

}  // namespace ckpt::agent
