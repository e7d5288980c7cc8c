// SPDX-License-Identifier: MIT
//
// Where a restart goes on once the memory is there: code and a stack of the program's own. Whoever
// only shows an image does not need them; whoever says that it will restart looks first.
#pragma once

#include "ckpt/image/metadata_view.hpp"

namespace ckpt::image {

/// The agent's entry and stack lie in memory of the program that may be run and written: the restarter
/// itself makes the call, and its first push is the 8 bytes from agent_stack - 16 on.
/// Context: any, no libc
inline result<void> check_agent(const format::file_header& h, bytes metadata, report& why) {
  bool entry = false;
  bool stack = false;
  for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind >= state::segment_kind::vdso) return;  // not there until the agent runs
    const range where{s.address, s.address + s.length};
    if (where.contains(h.agent_entry)) entry = s.protection.has(state::protection::execute);
    if (where.contains(h.agent_stack - 16)) stack = s.protection.has(state::protection::write);
  });
  if (entry && stack && h.agent_stack % 16 == 0) return {};
  return why.refuse("has no agent to go on with");
}

}  // namespace ckpt::image
