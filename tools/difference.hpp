// SPDX-License-Identifier: MIT
//
// What two images may differ in, whether it is a mapping or a record.
#pragma once

#include <string>

#include "record_json.hpp"

namespace ckpt::tools {

/// A field, and what it is in either.
struct difference {
  std::string field;
  json a, b;
};

enum class change { same, added, removed };

}  // namespace ckpt::tools
