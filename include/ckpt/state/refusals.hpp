// SPDX-License-Identifier: MIT
//
// What stops a checkpoint and needs no record of its own: said in the same words by the agent, which
// finds it while all threads stand still, and by whoever looks from outside (frontends/doctor).
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/sys/abi.hpp"

namespace ckpt::state {

/// `number` is empty where nobody knows it.
inline errc refuse_child(report& why, std::string_view number) {
  return why.refuse("the program has a child process", number.empty() ? "" : " (", number,
                    number.empty() ? "" : ")",
                    ", alive or not yet waited for; checkpoint it when it has none");
}

inline errc refuse_filtered_program(report& why) {
  return why.refuse("the program is under seccomp, and its filter may kill it during a checkpoint "
                    "(CKPT_SECCOMP=try tries all the same)");
}
inline errc refuse_filtered_thread(report& why, int tid) {
  return why.refuse("thread ", tid, " is under seccomp, and its filter may kill it during a "
                    "checkpoint (CKPT_SECCOMP=try tries all the same)");
}

inline errc refuse_own_table(report& why, int tid, bool of_descriptors) {
  return why.refuse("thread ", tid, " has ",
                    of_descriptors ? "a table of descriptors" : "a working directory",
                    " of its own (unshare(2)), which cannot be saved");
}

inline errc refuse_lost_directory(report& why, std::string_view path) {
  return why.refuse("the working directory ", quoted{path},
                    " no longer exists; go to another one first");
}

inline errc refuse_unstoppable_thread(report& why, int tid, errc error) {
  return why.explain(error, "cannot stop thread ", tid, " by ptrace (not permitted here)");
}
inline errc refuse_traced_threads(report& why, u32 count) {
  return why.refuse("the program has ", count, " threads and is traced by a debugger, so they "
                    "cannot be stopped; let the debugger go of it first");
}

inline errc refuse_long_name(report& why) {
  return why.refuse("the image's name would have more than 4095 characters with its directory; "
                    "choose a shorter one (-n or CKPT_NAME)");
}
inline errc refuse_long_file_name(report& why, std::string_view base) {
  return why.refuse("the image's name ", quoted{base},
                    " would have more than 255 characters; choose a shorter one (-n or CKPT_NAME)");
}

/// What stands under the image's name: a rename would put the image in its place.
[[nodiscard]] inline bool may_be_replaced(u32 mode) {
  const u32 type = mode & sys::abi::s_ifmt;
  return type != sys::abi::s_ifchr && type != sys::abi::s_ifblk && type != sys::abi::s_ififo &&
         type != sys::abi::s_ifsock;
}
inline errc refuse_replaced(report& why, std::string_view name) {
  return why.refuse("the image would take the place of ", quoted{name}, ", which is no file; choose "
                    "another name (-n or CKPT_NAME)");
}

}  // namespace ckpt::state
