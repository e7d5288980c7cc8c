// SPDX-License-Identifier: MIT
//
// What the tools throw about an image: the part of the line after its name.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>

#include "ckpt/base/text.hpp"

namespace ckpt::tools {

class image_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The core's words, and libc's for an errno the core has none for.
[[nodiscard]] inline std::string text_of(errc error) {
  if (const auto words = describe(error); !words.empty()) return std::string(words);
  return std::strerror(static_cast<int>(error));
}

}  // namespace ckpt::tools
