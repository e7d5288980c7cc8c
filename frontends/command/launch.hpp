// SPDX-License-Identifier: MIT
//
// Starts a program with the agent in it, in place of this process.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ckpt::command {

/// Options for the agent, as (long name, value).
using settings = std::vector<std::pair<std::string, std::string>>;

/// libckpt.so beside this program; empty when it is not there.
std::string library_path();
/// The ckpt-transfer beside the ckpt command; empty when there is none.
std::string transfer_path();

/// Returns only on failure, with the exit status; the line that says why has been printed.
int launch(const settings& options, char** command_line);

}  // namespace ckpt::command
