// SPDX-License-Identifier: MIT
//
// The Range field of a request (RFC 9110, 14.2): one range of bytes. A server may ignore what it does
// not serve, so several ranges, other units and malformed fields mean the whole.
#pragma once

#include <optional>
#include <string_view>

#include "ckpt/base/text.hpp"

namespace ckpt::server {

struct byte_range {
  u64 begin = 0;
  u64 end = 0;  // one past the last
  bool operator==(const byte_range&) const = default;
};

enum class range_kind : u8 { whole, part, unsatisfiable };

struct wanted_range {
  range_kind kind = range_kind::whole;
  byte_range part;
};

/// Of something that has `size` bytes.
[[nodiscard]] constexpr wanted_range parse_range(std::string_view field, u64 size) {
  constexpr std::string_view unit = "bytes=";
  if (!field.starts_with(unit)) return {};
  field.remove_prefix(unit.size());
  if (field.find(',') != std::string_view::npos) return {};
  const auto dash = field.find('-');
  if (dash == std::string_view::npos) return {};
  const auto first = field.substr(0, dash);
  const auto last = field.substr(dash + 1);
  if (first.empty()) {
    const auto suffix = parse_number(last);
    if (!suffix.ok()) return {};
    if (*suffix == 0 || size == 0) return {range_kind::unsatisfiable, {}};
    return {range_kind::part, {*suffix < size ? size - *suffix : 0, size}};
  }
  const auto begin = parse_number(first);
  if (!begin.ok()) return {};
  u64 end = size;
  if (!last.empty()) {
    const auto number = parse_number(last);
    if (!number.ok() || *number < *begin) return {};
    if (*number < size) end = *number + 1;
  }
  if (*begin >= size) return {range_kind::unsatisfiable, {}};
  return {range_kind::part, {*begin, end}};
}

}  // namespace ckpt::server
