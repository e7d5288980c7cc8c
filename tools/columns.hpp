// SPDX-License-Identifier: MIT
//
// A table for people: each column as wide as its widest cell, numbers to the right.
#pragma once

#include <ostream>
#include <string>
#include <vector>

namespace ckpt::tools {

class columns {
 public:
  /// A title that begins with '>' asks for its column to be aligned to the right.
  explicit columns(std::vector<std::string> titles);

  void add(std::vector<std::string> row) { rows_.push_back(std::move(row)); }
  void print(std::ostream& out) const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace ckpt::tools
