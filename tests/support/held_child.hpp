// SPDX-License-Identifier: MIT
//
// A copy of the test that does some work until it is told the result, stopped by ptrace.
#pragma once

#include <signal.h>
#include <sys/auxv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "other_process.hpp"
#include "remote_call.hpp"

namespace ckpt::test {

class held_child {
 public:
  /// work() runs in the child; what it returns is the child's status.
  template <class Work>
  explicit held_child(Work work) {
    int ready[2];
    if (::pipe(ready) != 0) ::abort();
    pid_ = ::fork();
    if (pid_ == 0) {
      (void)!::write(ready[1], "", 1);
      ::_exit(work());
    }
    char byte = 0;
    (void)!::read(ready[0], &byte, 1);
    ::close(ready[0]);
    ::close(ready[1]);
    ::usleep(20'000);  // into its work
  }
  held_child(const held_child&) = delete;
  held_child& operator=(const held_child&) = delete;
  ~held_child() {
    held.release();
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      // Its threads that this process held when they ended wait for it, and the child for them.
      while (::waitpid(pid_, nullptr, WNOHANG) == 0) {
        for (const pid_t tid : hijack::numbers_in(hijack::proc(pid_, "task")))
          if (tid != pid_) ::waitpid(tid, nullptr, WNOHANG | __WALL);
        ::usleep(1000);
      }
    }
  }

  [[nodiscard]] bool hold() {
    if (!held.seize(pid_, 0).ok() || !held.interrupt().ok()) return false;
    const auto s = held.wait();
    return s.ok() && s->kind == hijack::stop_kind::group;
  }
  /// Lets it go; its status, or 1000 + the signal that ended it.
  [[nodiscard]] int end() {
    held.release();
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

  hijack::tracee held;

 private:
  pid_t pid_ = 0;
};

/// The vDSO lies where it does in the test itself.
inline hijack::remote_address vdso() {
  return hijack::remote_address(::getauxval(AT_SYSINFO_EHDR));
}

}  // namespace ckpt::test
