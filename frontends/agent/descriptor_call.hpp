// SPDX-License-Identifier: MIT
//
// ckpt_fds of ckpt.h.
#pragma once

#include "agent_state.hpp"
#include "descriptor_table.hpp"

extern "C" ckptfdtbl* ckpt_fds(void) {
  using namespace ckpt;
  auto& me = agent::state_of_agent;
  auto& descriptors = agent::descriptors_of_agent;
  if (!me.callbacks.running_here()) {
    me.error.set("ckpt_fds is for functions that ckpt calls; outside of them there is no table");
    return nullptr;
  }
  auto* const table = me.callbacks.phase() == agent::callback_phase::restart
                          ? descriptors.open_image()
                          : descriptors.open_program(me.config.ignored);
  if (table == nullptr)
    me.error.set("there is no memory for the table of descriptors, or /proc cannot be read");
  if (const u32 without = descriptors.take_without_path(); without != 0) {
    fixed_text<256> line;
    line.append("no memory for the paths of ").append(without);
    line.append(" descriptors (ckpt_fds), which a handler cannot get; call ckpt_config after they are "
                "opened");
    agent::say(line.view());
  }
  return table;
}
