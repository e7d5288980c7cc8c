// SPDX-License-Identifier: MIT
//
// What a restart does about files that are not as the program left them (--files, CKPT_FILES). The
// numbers go from the restarter to an agent that may be of another version.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::state {

enum class files_policy : u32 {
  standard = 0,  // a file that grew stays; one that shrank, was replaced or is gone ends the restart
  rewind = 1,    // a file that grew is cut to its saved length, the tail saved beside it
  keep = 2,      // whatever is there is taken as it is
};

}  // namespace ckpt::state
