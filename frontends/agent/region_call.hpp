// SPDX-License-Identifier: MIT
//
// ckpt_region of ckpt.h.
#pragma once

#include "agent_state.hpp"
#include "c_api.hpp"
#include "regions.hpp"

namespace ckpt::agent {

/// Empty, or why the region stays as it was.
// Context: program, signal handlers too
inline std::string_view say_region(u64 address, u64 length, u32 what) {
  const auto object = [](const void* at, u64 size) {
    return range{reinterpret_cast<u64>(at), reinterpret_cast<u64>(at) + size};
  };
  const range own[] = {object(&state_of_agent, sizeof state_of_agent),
                       object(&regions_of_agent, sizeof regions_of_agent),
                       {reinterpret_cast<u64>(agent_scratch), reinterpret_cast<u64>(agent_scratch_end)},
                       {reinterpret_cast<u64>(agent_restarter),
                        reinterpret_cast<u64>(agent_restarter_end)},
                       object(agent_own_page, 2 * page_size),
                       object(reinterpret_cast<const void*>(&trigger_entry), 1)};
  return regions_of_agent.say(address, length, what, own);
}

}  // namespace ckpt::agent

extern "C" int ckpt_region(void* address, size_t length, int what) {
  using namespace ckpt;
  const auto why = agent::say_region(reinterpret_cast<u64>(address), length, static_cast<u32>(what));
  agent::state_of_agent.error.set(why);
  return why.empty() ? 0 : -1;
}
