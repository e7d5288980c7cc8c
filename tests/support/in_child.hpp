// SPDX-License-Identifier: MIT
//
// Runs what changes the process (signals, limits, the layout of memory) in a child.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

namespace ckpt::test {

/// The status that work() returns, or 1000 + the signal that ended it.
template <class Work>
[[nodiscard]] int in_child(Work work) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(work());
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

}  // namespace ckpt::test
