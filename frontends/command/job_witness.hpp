// SPDX-License-Identifier: MIT
//
// The witness: a process beside ckpt and the program, in their group, that blocks all signals. What it
// has got of a signal too went to the whole group, the program included, and is not to be passed on.
// When ckpt is killed it ends the program, which nobody would look after, and says so.
#pragma once

#include <sys/types.h>

#include <string>

#include "job_lock.hpp"

namespace ckpt::command {

class job_witness {
 public:
  /// All signals are blocked. `program` is a pidfd.
  bool start(int program, const std::string& name, job_lock& lock);
  [[nodiscard]] bool went_to_group(int signal);
  /// The program has ended.
  void end();

 private:
  pid_t pid_ = -1;
  int channel_ = -1;
};

}  // namespace ckpt::command
