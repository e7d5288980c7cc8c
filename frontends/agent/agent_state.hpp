// SPDX-License-Identifier: MIT
//
// What the agent remembers from its loading to the end of the program, through every image and
// restart.
#pragma once

#include "callbacks.hpp"
#include "ckpt/image/owner.hpp"
#include "ckpt/wire/le.hpp"
#include "config.hpp"
#include "hold.hpp"
#include "last_error.hpp"
#include "left_reports.hpp"
#include "name_of_call.hpp"
#include "output.hpp"
#include "period.hpp"
#include "session.hpp"
#include "symbols.hpp"
#include "trigger_signal.hpp"

namespace ckpt::agent {

inline constexpr std::string_view held_off =
    "the program holds checkpoints off (between ckpt_hold and ckpt_release)";

/// Whether a request has been judged already, with the program's functions called before it.
enum class decision : u32 { open, begin, leave };

/// The checkpoint that was made last: whether it meets what a thread that waited has asked for.
class last_checkpoint {
 public:
  // Context: triggering thread, all others frozen: the image must say so too
  void begin(bool goes_on, u64 name) {
    ++agent_freezes;
    goes_on_ = goes_on;
    name_ = name;
    good_ = true;
  }
  void failed() { good_ = false; }
  void went_on() { restarted_ = false; }
  void was_restarted() { restarted_ = true; }

  /// One that went on does not meet the request to end.
  [[nodiscard]] bool meets(bool goes_on, u64 name) const {
    return good_ && (goes_on || !goes_on_) && name == name_;
  }
  [[nodiscard]] bool restarted() const { return restarted_; }

 private:
  u64 name_ = 0;
  bool good_ = false;
  bool goes_on_ = false;
  bool restarted_ = false;
};

/// What this program's images are called beside what the user has said. Aligned, so that it lies in
/// one page: the helper changes it when it knows already which pages hold anything.
struct alignas(128) naming {
  wire::blob<16> image{};  // the latest that it has written, or the one it comes from
  u64 number = 0;          // how many it has written
  int process = 0;         // a child that has been forked differs
  i32 carrier = 0;         // the ckpt-transfer that may still be on its way with the latest one
  u64 carrier_start = 0;
  fixed_text<40> suffix;   // when the name belonged to another: ".PID"
};

/// Everything the agent remembers from one checkpoint to the next. It is part of the image, so a
/// restarted program has the same configuration.
struct agent_state {
  agent::naming naming;
  image::process_identity outside;  // its stand-in, when it is in a PID namespace
  image::process_identity gone;     // who wrote the image that this was restarted from, and is dead
  agent::config config;
  agent::output output;
  agent::period period;
  agent::trigger_signal trigger;
  agent::callbacks callbacks;
  agent::hold hold;
  agent::last_error error;
  agent::last_checkpoint last;
  u64 told_of_tick = 0;  // why the latest of the period's was refused
  agent::name_of_call name_of_call;
  fixed_text<4200> latest;  // the image that this process has made last
  u8 instance[16] = {};  // random, drawn at every start
  bool has_instance = false;
  int home = 0;             // the process that owns the name; a forked child writes NAME.PID
  bool child_told = false;  // that it writes NAME.PID
  bool privileged = false;  // it has rights that whoever started it has not (AT_SECURE)
  u32 generation = 0;
  range memory;  // its own, when ckpt -p has brought it
  range frames;  // from which the threads of a restart have returned to the program
  left_reports reports;
  range kernel_vdso;  // when it is not the one that the program knows (restart/vdso.hpp)
};
inline constinit agent_state state_of_agent{};
static_assert(sizeof(session) <= 32 * 1024, "the room agent.S keeps for it");
// In memory that no image contains: it changes while the image is written.
inline session& current() {
  return *reinterpret_cast<session*>(agent_session_room);
}

/// The signal that the agent needs, 0 for none: the period takes the trigger's, or one that hardly
/// any program uses.
[[nodiscard]] constexpr int signal_for(int trigger, u32 period_ms) {
  return trigger != 0 ? trigger : period_ms != 0 ? options::last_real_time : 0;
}

/// So that copies of one image can tell themselves apart.
// Context: library load; agent, in restored memory
inline void draw_instance() {
  auto& me = state_of_agent;
  constexpr u32 nonblock = 1;
  const auto got = sys::getrandom(me.instance, sizeof me.instance, nonblock);
  me.has_instance = got.ok() && *got == sizeof me.instance;
  if (!me.has_instance) __builtin_memset(me.instance, 0, sizeof me.instance);
}

inline void say(std::string_view text) {
  state_of_agent.output.line(text, state_of_agent.config.log.view());
}
/// What is worth knowing, and under --quiet is not said.
inline void note(std::string_view text) {
  if (!state_of_agent.config.quiet) say(text);
}

}  // namespace ckpt::agent
