// SPDX-License-Identifier: MIT
//
// What ckpt-transfer says: lines for people on standard error, and letters for the agent that has
// started it.
#pragma once

#include <string>
#include <string_view>

namespace ckpt::transfer {

/// As a line has a name that may have anything in it.
[[nodiscard]] std::string shown(std::string_view name);

void say(const std::string& line);

/// Tells the agent at `status_fd`, where there is one: one letter, R when all has been received, then D
/// or F and why. False when nobody is there to hear it.
bool tell_agent(int status_fd, char letter, const std::string& text = {});

}  // namespace ckpt::transfer
