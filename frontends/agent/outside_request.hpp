// SPDX-License-Identifier: MIT
//
// A checkpoint that somebody outside asks for, without a signal: frontends/hijack lets a thread of
// the program step into the agent at agent_outside_entry. What he asks and what he is told lies in
// the box, what the thread was doing in the room (outside.S); both are found by the agent's mark.
#pragma once

#include "ckpt/sys/abi.hpp"

namespace ckpt::agent {

inline constexpr u64 outside_name_capacity = 4096;
inline constexpr u64 outside_line_capacity = 2048;

/// In the agent's code, at the beginning of a page, the same bytes in a library, in a static program
/// and in a restarted one: distances, so that nothing needs to be relocated.
struct outside_mark {
  char text[16];
  u32 version;
  u32 box_size;
  // From the mark to:
  i64 box, room, entry, busy;
  i64 gate, gate_end;  // through which threads come back from a restart: not to be held there
  i64 configure;  // agent_configure: to be called while all threads are held
};
inline constexpr char outside_mark_text[] = "\x7f" "ckpt's agent.\n";
static_assert(sizeof outside_mark_text == sizeof(outside_mark{}.text));
inline constexpr u32 outside_version = 2;  // of all of this
inline constexpr u64 outside_room_size = 16 * 1024;

enum class outside_outcome : u32 {
  none,
  complete,
  refused,
  held,  // the program holds checkpoints off (ckpt_hold): ask again
};

struct outside_box {
  u64 self;  // its own address once the agent is there; elsewhere the mark is a file's contents
  // The asker's, written while he holds the thread; `asked` last.
  u32 asked;  // the number of the request
  i32 process;  // as it sees itself: a child made meanwhile has nothing to answer
  u32 goes_on;
  u32 seen;  // the last answer that he has read
  u32 name_length;  // 0: the name that the agent has
  char name[outside_name_capacity];
  sys::abi::user_regs registers;  // as ptrace has them, in front of the kernel's choice to make a
                                  // call again
  // The agent's; `answered` last.
  u32 in_image;   // while an image is written, and so in a restarted program until it goes on
  u32 begun;      // the request whose checkpoint has begun
  u32 cancelled;  // one that an image was written over, which means nothing in another life
  u32 answered;
  outside_outcome outcome;
  u64 image_size;
  u64 milliseconds;
  u32 line_length;  // the image's name, or why there is none
  char line[outside_line_capacity];

  [[nodiscard]] bool pending() const { return asked != answered; }
};
static_assert(sizeof(outside_box) <= 8 * 1024, "the room outside.S keeps for it");

}  // namespace ckpt::agent
