// SPDX-License-Identifier: MIT
//
// ckpt_restart: the program gives way to an image, in the same process. Everything that could be
// wrong with the image is looked at before; after the execve there is nobody left to return to.
#pragma once

#include "agent_taken.hpp"
#include "environment.hpp"
#include "image_check.hpp"
#include "transfer.hpp"

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

/// A file of an image that is in none: ckpt-transfer fetches and holds it until it is open here.
// Context: ordinary
inline result<int> fetch_image(const char* name, report& why) {
  transfer from;
  {
    const agent_taken taken;
    const auto room = sys::mmap(0, room_for_environment, sys::abi::prot_read | sys::abi::prot_write,
                                sys::abi::map_private | sys::abi::map_anonymous, -1, 0);
    if (!room.ok()) return room.error();
    const auto started = from.start({.name = name, .fetches = true},
                                    {reinterpret_cast<std::byte*>(*room), room_for_environment}, why);
    (void)sys::munmap(*room, room_for_environment);
    CKPT_TRY(started);
  }
  return from.wait_for_image(why);
}

/// Returns why not. The caller's thread is one like any other meanwhile: checkpoints may be made.
// Context: ordinary
inline void restart_from(fixed_text<name_capacity>& name, report& why) {
  const auto cannot = [&] {
    report whole;
    (void)whole.refuse("cannot restart from ", quoted{name.view()}, ": ", why.line());
    state_of_agent.error.set(whole.line());
  };
  const bool elsewhere = options::goes_elsewhere(name.view());
  const auto opened =
      elsewhere ? fetch_image(name.c_str(), why)
                : sys::openat(sys::abi::at_fdcwd, name.c_str(),
                              sys::abi::o_rdonly | sys::abi::o_cloexec | sys::abi::o_nonblock |
                                  sys::abi::o_noctty);
  if (!opened.ok()) {
    (void)why.explain(opened.error(), "cannot open it");
    return cannot();
  }
  sys::unique_fd file(*opened);
  {
    image_check check(file.get(), why);
    if (!check.run().ok()) return cannot();
  }
  const auto stack = initial_stack::find();
  if (!stack.ok()) {
    (void)why.explain(stack.error(), "cannot read /proc/self/stat (is /proc mounted?)");
    return cannot();
  }
  fixed_text<32> held;
  if (elsewhere)
    held.append("/proc/self/fd/").append(file.get());
  else
    file.reset();
  const char* const argv[] = {name.c_str(), nullptr};
  const alarms_put_aside quiet;
  const auto done = sys::execve(elsewhere ? held.c_str() : name.c_str(), argv, stack->envp());
  (void)why.explain(done.error(), "cannot run it (is it executable, and its file system?)");
  cannot();
}

}  // namespace ckpt::agent
