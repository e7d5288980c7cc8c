// SPDX-License-Identifier: MIT
//
// A picture on its way to the file that the command line names, in the format it wants.
#pragma once

#include "commands.hpp"
#include "picture.hpp"

namespace ckpt::tools {

void write_picture(const picture& what, const request& asked);

}  // namespace ckpt::tools
