// SPDX-License-Identifier: MIT
//
// What the tools throw about an image: the part of the line after its name.
#pragma once

#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>

#include "ckpt/base/text.hpp"

namespace ckpt::tools {

class image_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// About something else than the one image that the command line names.
class named_error : public image_error {
 public:
  named_error(std::string subject, const std::string& what)
      : image_error(what), subject_(std::move(subject)) {}
  [[nodiscard]] const std::string& subject() const { return subject_; }

 private:
  std::string subject_;
};

/// The core's words, and libc's for an errno the core has none for.
[[nodiscard]] inline std::string text_of(errc error) {
  if (const auto words = describe(error); !words.empty()) return std::string(words);
  return std::strerror(static_cast<int>(error));
}

}  // namespace ckpt::tools
