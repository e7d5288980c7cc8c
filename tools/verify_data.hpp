// SPDX-License-Identifier: MIT
//
// The last of an image: its data, block by block. Everything else was validated when it was opened.
#pragma once

#include "image_file.hpp"

namespace ckpt::tools {

/// Throws image_error with how many blocks are damaged, and where the first is.
void verify_data(image_file& image);

}  // namespace ckpt::tools
