// SPDX-License-Identifier: MIT
//
// The helper's other thread, of which there is one at a time: it hashes, or it waits for the disk.
#pragma once

#include "symbols.hpp"

namespace ckpt::agent {

/// Runs function(argument) on the hasher's stack. `thread` is its tid, and 0 when it has ended, however it
/// has. False where no thread can be had.
// Context: helper
inline bool start_second_thread(int& thread, void (*function)(void*), void* argument) {
  const u64 flags = sys::abi::clone_vm | sys::abi::clone_fs | sys::abi::clone_files |
                    sys::abi::clone_sighand | sys::abi::clone_thread | sys::abi::clone_sysvsem |
                    sys::abi::clone_untraced | sys::abi::clone_parent_settid |
                    sys::abi::clone_child_cleartid;
  return start_task(flags, agent_hasher_stack_end, &thread, &thread, function, argument) > 0;
}

}  // namespace ckpt::agent
