// SPDX-License-Identifier: MIT
//
// A checkpoint of a process that has the agent, asked for from outside. No signal is sent, so what
// the program does with its signals does not matter.
//
// A thread of it is held for an instant, and what it was doing is laid into the agent's room as the
// kernel lays a signal's frame on a stack; then it steps into the agent, and from there on all is as
// if the trigger had come. Whoever asks may die at any moment: until the thread's registers are set,
// in one call, it goes on as it was, and afterwards the checkpoint is made without him.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "../agent/outside_request.hpp"
#include "ckpt/base/range.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::hijack {

struct outside_wish {
  std::string name;     // absolute; empty for the one that the agent has
  bool goes_on = true;  // otherwise the program ends with status 0
};

struct outside_answer {
  bool complete = false;
  bool held = false;  // the program holds checkpoints off: ask again
  std::string line;  // the image's name, or why there is none
  u64 image_size = 0;
  u64 milliseconds = 0;
};

/// The process in which the program lives: a restarted one may have a stand-in.
[[nodiscard]] pid_t program_behind(pid_t pid);

/// Whether the agent is in it, and not at work.
[[nodiscard]] bool has_agent(pid_t pid);

enum class seen_agent { none, there, of_other_version, unseen };
/// Reads its memory and touches nothing. `why` says why it could not be seen, or be used.
[[nodiscard]] seen_agent look_for_agent(pid_t pid, report& why);

struct agents_in_memory {
  std::vector<range> code;
  bool any_has_begun = false;
};

class outside_checkpoint {
 public:
  /// Returns when the request is made. What cannot be asked is refused with a line about the
  /// process. May take a while: as long as another checkpoint of it, at most `patience_ms`.
  result<void> begin(pid_t pid, const outside_wish& wish, int patience_ms, report& why);

  /// True when the answer is there; errc::gone when the process ended before. Never waits.
  result<bool> look(outside_answer& answer);
  /// After begin(): what was lacking is the agent, which may not have been loaded yet.
  [[nodiscard]] bool no_agent() const { return no_agent_; }
  /// Readable when the process has ended.
  [[nodiscard]] int process() const { return process_.get(); }

 private:
  friend bool has_agent(pid_t pid);
  friend seen_agent look_for_agent(pid_t pid, report& why);
  friend class attachment;
  struct agent_place {
    u64 box = 0, room = 0, entry = 0, busy = 0;
    range gate;
    u64 configure = 0;
  };
  result<void> look_before(report& why);
  result<void> look_whether_stopped(report& why) const;
  result<void> find_agent(report& why);
  result<void> agents_of_no_file(agents_in_memory& found) const;
  [[nodiscard]] bool is_still_there() const;
  result<bool> check_mark(u64 address, const agent::outside_mark& mark, report& why);
  result<void> ask_held(const outside_wish& wish, u32& number, report& why);
  result<u32> busy() const;

  pid_t pid_ = 0;
  pid_t inner_pid_ = 0;
  pid_t thread_ = 0;
  sys::unique_fd process_;
  agent_place agent_;
  u32 number_ = 0;
  bool no_agent_ = false;
  bool other_version_ = false;
};

/// All of it: returns when the image is complete, or with the line that says why it is not.
result<void> checkpoint_from_outside(pid_t pid, const outside_wish& wish, outside_answer& answer,
                                     report& why);

}  // namespace ckpt::hijack
