// SPDX-License-Identifier: MIT
//
// What ckpt exits with where no program has ended, as env(1), timeout(1) and shells have it.
#pragma once

namespace ckpt::command {

inline constexpr int own_failure = 125, not_executable = 126, not_found = 127;

}  // namespace ckpt::command
