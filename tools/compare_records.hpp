// SPDX-License-Identifier: MIT
//
// The records of two images side by side: descriptors, threads, settings, words.
#pragma once

#include <string>
#include <vector>

#include "difference.hpp"
#include "image_file.hpp"

namespace ckpt::tools {

/// An object that only one has, or that differs in these fields.
struct record_change {
  std::string record;
  std::string key;  // empty where there is one only
  change how;
  std::vector<difference> fields;
};

[[nodiscard]] std::vector<record_change> descriptor_changes(const image_file& a,
                                                            const image_file& b);
[[nodiscard]] std::vector<record_change> thread_changes(const image_file& a, const image_file& b);
/// All the others.
[[nodiscard]] std::vector<record_change> state_changes(const image_file& a, const image_file& b);

}  // namespace ckpt::tools
