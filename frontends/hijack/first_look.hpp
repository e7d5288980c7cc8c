// SPDX-License-Identifier: MIT
//
// What can be said of a process before anything in it is touched: by who is about to come into it, and
// by who only looks (frontends/doctor). Each refusal is one line about "it".
#pragma once

#include <sys/types.h>

#include <string_view>

#include "ckpt/base/text.hpp"

namespace ckpt::hijack {

/// A thread of it that lives, the main one if that does. No such process, a thread of the kernel and a
/// zombie are refused.
result<pid_t> living_thread(pid_t pid, report& why);

/// From the text of its status: strict seccomp, a shadow stack.
result<void> look_at_status(std::string_view status, report& why);

/// By job control.
[[nodiscard]] bool is_stopped(pid_t pid, pid_t thread);
errc refuse_stopped(pid_t pid, report& why);

[[nodiscard]] bool is_32_bit(pid_t pid);
errc refuse_32_bit(report& why);
errc refuse_filtered(report& why);
errc refuse_traced(pid_t tracer, report& why);

/// Whether what is there will make room for another program, which has the agent or gets it: the command
/// before it starts one, an image or ckpt-restart before the program goes on.
[[nodiscard]] bool is_about_to_begin(pid_t pid);
errc refuse_beginning(report& why);

}  // namespace ckpt::hijack
