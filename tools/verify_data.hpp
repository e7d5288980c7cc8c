// SPDX-License-Identifier: MIT
//
// The last of an image: what only a restart needs, and its data, block by block. Everything else was
// validated when it was opened. What this calls whole the restarter does not refuse.
#pragma once

#include "image_file.hpp"

namespace ckpt::tools {

/// Throws image_error: what is wrong, of data how many blocks are damaged, and where the first is.
void verify_data(image_file& image);

}  // namespace ckpt::tools
