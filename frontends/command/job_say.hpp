// SPDX-License-Identifier: MIT
//
// A line of ckpt's as the parent of a job.
#pragma once

#include <cstdio>

#include "ckpt/base/text.hpp"

namespace ckpt::command {

template <class... Parts>
void say(const Parts&... parts) {
  fixed_text<4200> line;
  line.append("ckpt: ");
  (line.append(parts), ...);
  std::fprintf(stderr, "%s\n", line.c_str());
}

}  // namespace ckpt::command
