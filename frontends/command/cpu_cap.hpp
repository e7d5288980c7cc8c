// SPDX-License-Identifier: MIT
//
// --cpu: glibc chooses code for the processor when a program starts. Its tunables keep it from what is
// beyond a level, so that the program, and its images, run on every processor of that level.
#pragma once

#include <string>
#include <string_view>

namespace ckpt::command {

/// GLIBC_TUNABLES with what it had and nothing beyond the level (2, 3 or 4).
[[nodiscard]] std::string capped_tunables(std::string_view users, unsigned level);

/// Sets the environment for the program that this process is going to be. `option` is --cpu's value,
/// empty for none; then CKPT_CPU counts. The level's name for the agent; empty where nothing is capped.
std::string cap_processor(std::string_view option);

}  // namespace ckpt::command
