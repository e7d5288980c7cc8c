// SPDX-License-Identifier: MIT
//
// Opens a built image the way the tools do, without a file.
#pragma once

#include <memory>
#include <string>

#include "image_error.hpp"
#include "image_file.hpp"
#include "support/image_builder.hpp"

namespace ckpt::test {

[[nodiscard]] inline tools::image_file opened(image_bytes image) {
  return tools::image_file(std::make_unique<tools::memory_source>(std::move(image)));
}

/// Why work() throws image_error; empty when it does not.
template <class Work>
[[nodiscard]] std::string refusal(Work work) {
  try {
    work();
  } catch (const tools::image_error& e) {
    return e.what();
  }
  return {};
}

}  // namespace ckpt::test
