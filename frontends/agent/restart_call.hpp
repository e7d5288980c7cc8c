// SPDX-License-Identifier: MIT
//
// ckpt_restart: the program gives way to an image, in the same process. Everything that could be
// wrong with the image is looked at before; after the execve there is nobody left to return to.
#pragma once

#include "agent_state.hpp"
#include "environment.hpp"
#include "image_check.hpp"

namespace ckpt::agent {

/// The alarms of setitimer(2) outlive an execve, and the image's program has its own.
class alarms_put_aside {
 public:
  alarms_put_aside() {
    for (int which = 0; which < 3; ++which) {
      (void)sys::getitimer(which, saved_[which]);
      (void)sys::setitimer(which, {});
    }
  }
  ~alarms_put_aside() {
    for (int which = 0; which < 3; ++which)
      if (saved_[which].it_value.tv_sec != 0 || saved_[which].it_value.tv_usec != 0)
        (void)sys::setitimer(which, saved_[which]);
  }
  alarms_put_aside(const alarms_put_aside&) = delete;
  alarms_put_aside& operator=(const alarms_put_aside&) = delete;

 private:
  sys::abi::itimerval saved_[3] = {};
};

/// Returns why not. The caller's thread is one like any other meanwhile: checkpoints may be made.
// Context: ordinary
inline void restart_from(fixed_text<name_capacity>& name, report& why) {
  const auto cannot = [&] {
    report whole;
    (void)whole.refuse("cannot restart from ", quoted{name.view()}, ": ", why.line());
    state_of_agent.error.set(whole.line());
  };
  {
    const auto opened = sys::openat(
        sys::abi::at_fdcwd, name.c_str(),
        sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock | sys::abi::o_noctty);
    if (!opened.ok()) {
      (void)why.explain(opened.error(), "cannot open it");
      return cannot();
    }
    const sys::unique_fd file(*opened);
    image_check check(file.get(), why);
    if (!check.run().ok()) return cannot();
  }
  const auto stack = initial_stack::find();
  if (!stack.ok()) {
    (void)why.explain(stack.error(), "cannot read /proc/self/stat (is /proc mounted?)");
    return cannot();
  }
  const char* const argv[] = {name.c_str(), nullptr};
  const alarms_put_aside quiet;
  const auto done = sys::execve(name.c_str(), argv, stack->envp());
  (void)why.explain(done.error(), "cannot run it (is it executable, and its file system?)");
  cannot();
}

}  // namespace ckpt::agent
