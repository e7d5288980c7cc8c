// SPDX-License-Identifier: MIT
//
// Whoever restarts, and what he would lose in a namespace of his own.
#pragma once

#include "ckpt/state/credentials.hpp"

namespace ckpt::state {

struct caller {
  u32 uid = 0, gid = 0;
  u64 permitted = 0, effective = 0;
  bool other_groups = false;

  // Context: any, no libc
  static caller now() {
    caller c;
    c.uid = sys::geteuid(), c.gid = sys::getegid();
    const auto sets = own_capabilities();
    c.permitted = sets.permitted, c.effective = sets.effective;
    u32 groups[64];
    const auto count = sys::getgroups(64, groups);
    c.other_groups = !count.ok();
    for (u32 i = 0; i < count.value_or(0); ++i) c.other_groups |= groups[i] != c.gid;
    return c;
  }
  [[nodiscard]] bool can(int capability) const { return (effective >> capability & 1) != 0; }

  /// Why a user namespace is no way to the program's number; empty when it is one.
  [[nodiscard]] std::string_view why_no_namespace() const {
    constexpr std::string_view capabilities = "a namespace would take capabilities away";
    constexpr std::string_view groups = "supplementary groups have no name in a namespace";
    return permitted != 0 ? capabilities : other_groups ? groups : std::string_view();
  }
};

}  // namespace ckpt::state
