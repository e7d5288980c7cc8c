// SPDX-License-Identifier: MIT
//
// A table for people: each column as wide as its widest cell, numbers to the right.
#pragma once

#include <map>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "terminal.hpp"

namespace ckpt::tools {

class columns {
 public:
  /// A title that begins with '>' asks for its column to be aligned to the right.
  explicit columns(std::vector<std::string> titles);

  void add(std::vector<std::string> row, std::optional<tint> how = {}) {
    rows_.push_back(std::move(row));
    tints_.push_back(how);
  }
  /// Behind the last column of the row that was added last, as it is: not counted, not aligned.
  void trail(std::string text) { trails_[rows_.size() - 1] = std::move(text); }
  void print(std::ostream& out) const;

 private:
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::optional<tint>> tints_;
  std::map<std::size_t, std::string> trails_;
};

}  // namespace ckpt::tools
