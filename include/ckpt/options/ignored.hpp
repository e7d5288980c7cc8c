// SPDX-License-Identifier: MIT
//
// What --ignore-fd names: descriptors by number, all sockets that cannot be saved, or whatever
// cannot.
#pragma once

#include "ckpt/base/text.hpp"

namespace ckpt::options {

struct ignored_descriptors {
  static constexpr u64 capacity = 128;

  bool sockets = false;
  bool all = false;
  u32 count = 0;
  i32 numbers[capacity] = {};

  [[nodiscard]] constexpr bool has(i32 fd) const {
    for (u32 i = 0; i < count; ++i)
      if (numbers[i] == fd) return true;
    return false;
  }

  /// Adds the words of a list with commas; nothing when one of them means nothing.
  constexpr bool add(std::string_view list) {
    ignored_descriptors after = *this;
    for (;;) {
      const auto comma = list.find(',');
      if (!after.add_word(list.substr(0, comma))) return false;
      if (comma == std::string_view::npos) break;
      list.remove_prefix(comma + 1);
    }
    *this = after;
    return true;
  }

 private:
  constexpr bool add_word(std::string_view word) {
    if (word == "socket") return sockets = true;
    if (word == "all") return all = true;
    const auto number = parse_number(word);
    if (!number.ok() || *number > 0x7fffffff) return false;
    if (has(static_cast<i32>(*number))) return true;
    if (count == capacity) return false;
    numbers[count++] = static_cast<i32>(*number);
    return true;
  }
};

}  // namespace ckpt::options
