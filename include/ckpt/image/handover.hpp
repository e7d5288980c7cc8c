// SPDX-License-Identifier: MIT
//
// What the restarter tells the agent when all memory is in place: the contract between two
// programs that may come from different versions of ckpt (ckpt-restart of today, the agent in an
// image of last year). Fields are only ever added at the end; `size` says how many there are.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/image/owner.hpp"
#include "ckpt/state/files/policy.hpp"

namespace ckpt::image {

struct handover {
  u32 size;
  state::files_policy files;
  u32 verbose;
  u32 name_length;
  /// What the image was called on the command line, for messages.
  const char* name;
  const std::byte* metadata;
  u64 metadata_size;
  /// Contents of deleted files: the extents of all objects above 0, one after the other.
  const std::byte* contents;
  u64 contents_size;
  /// To be unmapped by the agent, but for what it keeps: the window the restarter lives in, and
  /// the mapping of the contents.
  range window;
  range contents_mapping;
  /// Part of the window that stays: the kernel's vDSO where it could not go back to its old place.
  range keep;
  /// 1: the process has its saved number, and the agent may ask for further threads with theirs.
  u32 tids_kept;
  /// 1: in a user namespace made for the program, where users and groups cannot be set.
  u32 own_user_namespace;
  /// The capabilities (capabilities(7), permitted) that whoever restarts had before such a
  /// namespace gave more: the program may get back none but these.
  u64 capabilities;
  /// Of the stand-in, when the program is in a PID namespace behind it; otherwise its pid is 0.
  process_identity outside;
  /// Who wrote the image, when it was dead as the restart began; otherwise its pid is 0. From within
  /// a PID namespace nobody can see that.
  process_identity gone;
};

/// The agent's entry, on its own stack, with interrupts of every kind blocked. Does not return.
using agent_entry = void (*)(const handover*);

}  // namespace ckpt::image
