// SPDX-License-Identifier: MIT
//
// Widths are known only when all rows are, so rows are kept until they are printed.
#include "columns.hpp"

#include <range/v3/algorithm/count_if.hpp>
#include <range/v3/algorithm/max.hpp>
#include <range/v3/view/transform.hpp>

namespace ckpt::tools {

namespace {

// Characters, not bytes: continuation bytes of UTF-8 take no room.
std::size_t width(const std::string& text) {
  return static_cast<std::size_t>(
      ranges::count_if(text, [](char c) { return (c & 0xc0) != 0x80; }));
}

}  // namespace

columns::columns(std::vector<std::string> titles) {
  for (auto& title : titles) {
    right_.push_back(title.starts_with('>'));
    if (right_.back()) title.erase(0, 1);
  }
  rows_.push_back(std::move(titles));
  tints_.emplace_back(tint::title);
}

void columns::print(std::ostream& out) const {
  std::vector<std::size_t> widths;
  for (std::size_t c = 0; c < right_.size(); ++c)
    widths.push_back(
        ranges::max(rows_ | ranges::views::transform([&](const auto& r) { return width(r[c]); })));
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    const auto& row = rows_[r];
    std::string line = " ";
    for (std::size_t c = 0; c < row.size(); ++c) {
      const std::string room(widths[c] - width(row[c]), ' ');
      line += ' ';
      line += right_[c] ? room + row[c] : row[c] + room;
      line += ' ';
    }
    const auto trail = trails_.find(r);
    if (trail == trails_.end()) line.erase(line.find_last_not_of(' ') + 1);
    out << (tints_[r] ? painted(out, *tints_[r], line) : line);
    if (trail != trails_.end()) out << ' ' << trail->second;
    out << '\n';
  }
}

}  // namespace ckpt::tools
