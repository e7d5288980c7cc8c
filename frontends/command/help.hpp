// SPDX-License-Identifier: MIT
//
// What `ckpt --help` prints: one screen. ckpt(1) has the rest.
#pragma once

#include <cstdio>

namespace ckpt::command {

void print_help(std::FILE* to);

}  // namespace ckpt::command
