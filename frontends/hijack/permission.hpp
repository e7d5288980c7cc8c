// SPDX-License-Identifier: MIT
//
// Why a process may not be held or looked into: the kernel says EPERM to all of it.
#pragma once

#include <sys/types.h>

#include "ckpt/base/text.hpp"

namespace ckpt::hijack {

/// The cause as far as it can be told from here, and its cure. Source: ptrace(2), "Ptrace access mode
/// checking".
errc refuse_permission(pid_t pid, report& why);

}  // namespace ckpt::hijack
