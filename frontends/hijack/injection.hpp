// SPDX-License-Identifier: MIT
//
// The agent into a held program whose first instruction has not run.
#pragma once

#include <sys/types.h>

#include <string_view>

#include "shared_object.hpp"

namespace ckpt::hijack {

/// The program has just been executed. At the end its memory is as it was, but for the agent's; so
/// are its registers, unless `adopted`, the process that does this, will be the program's child:
/// then the agent waits for its end first. Otherwise `adopted` is 0.
result<void> put_into_new_program(tracee& t, const shared_object& agent, std::string_view options,
                                  pid_t adopted, report& why);

/// For a program that cannot be started as it should: ends it with this status.
void end_new_program(tracee& t, int status);

}  // namespace ckpt::hijack
