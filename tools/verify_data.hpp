// SPDX-License-Identifier: MIT
//
// The last of an image: what only a restart needs, and its data, block by block. Everything else was
// validated when it was opened. What these call whole the restarter does not refuse.
#pragma once

#include <functional>
#include <vector>

#include "image_file.hpp"

namespace ckpt::tools {

struct damaged_blocks {
  u64 count = 0;
  std::vector<u64> first;  // at most 1000 of them, in order
};

/// Throws image_error for what lies beside the data.
void verify_rest(image_file& image);

/// Reads all data; `at` hears of each block before it is read.
[[nodiscard]] damaged_blocks find_damage(image_file& image, const std::function<void(u64)>& at);

/// Throws image_error with how many blocks are damaged, and where the first is, unless none is.
void refuse_damage(image_file& image, const damaged_blocks& damage);

/// All three.
void verify_data(image_file& image);

}  // namespace ckpt::tools
