// SPDX-License-Identifier: MIT
//
// What the agent remembers from its loading to the end of the program, through every image and
// restart.
#pragma once

#include "ckpt/image/owner.hpp"
#include "ckpt/wire/le.hpp"
#include "config.hpp"
#include "output.hpp"
#include "period.hpp"
#include "session.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

/// What this program's images are called beside what the user has said. Aligned, so that it lies in
/// one page: the helper changes it when it knows already which pages hold anything.
struct alignas(128) naming {
  wire::blob<16> image{};  // the latest that it has written, or the one it comes from
  u64 number = 0;          // how many it has written
  int process = 0;         // a child that has been forked differs
  fixed_text<40> suffix;   // when the name belonged to another: ".PID"
};

/// Everything the agent remembers from one checkpoint to the next. It is part of the image, so a
/// restarted program has the same configuration.
struct agent_state {
  agent::naming naming;
  image::process_identity outside;  // its stand-in, when it is in a PID namespace
  agent::config config;
  agent::output output;
  agent::period period;
  bool went_on = false;  // the last checkpoint was made to go on
  int home = 0;          // the process that owns the name; a forked child writes NAME.PID
  bool child_told = false;  // that it writes NAME.PID
  u32 generation = 0;
  range frames;  // from which the threads of a restart have returned to the program
};
inline constinit agent_state state_of_agent{};
static_assert(sizeof(session) <= 32 * 1024, "the room agent.S keeps for it");
// In memory that no image contains: it changes while the image is written.
inline session& current() {
  return *reinterpret_cast<session*>(agent_session_room);
}

inline void say(std::string_view text) {
  state_of_agent.output.line(text, state_of_agent.config.log.view());
}
/// What is worth knowing, and under --quiet is not said.
inline void note(std::string_view text) {
  if (!state_of_agent.config.quiet) say(text);
}

}  // namespace ckpt::agent
