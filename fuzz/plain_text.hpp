// SPDX-License-Identifier: MIT
//
// What the second opinion on a parser is made of: a text taken apart by copies, numbers added up in 128 bits, an
// exception where it cannot go on. It has no code in common with what it is held against.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ckpt::fuzz {

__extension__ typedef __int128 wide;
inline constexpr wide largest_u64 = (wide{1} << 64) - 1, largest_i64 = largest_u64 >> 1;
inline constexpr wide largest_u32 = (wide{1} << 32) - 1, largest_i32 = largest_u32 >> 1;

struct refused {};

inline void want(bool so) {
  if (!so) throw refused();
}

/// The value of digits, which must be some and no more than `largest`.
inline wide plain_number(const std::string& digits, unsigned base, wide largest) {
  static const std::string lower = "0123456789abcdef", upper = "0123456789ABCDEF";
  want(!digits.empty());
  wide value = 0;
  for (const char c : digits) {
    const auto digit = lower.find(c) != std::string::npos ? lower.find(c) : upper.find(c);
    want(digit < base);
    value = value * base + static_cast<wide>(digit);
    want(value <= largest);
  }
  return value;
}

/// Lines with an end, and whether something without one is left.
struct plain_lines {
  std::vector<std::string> whole;
  bool torn = false;

  explicit plain_lines(std::string_view text) {
    std::string line;
    for (const char c : text)
      if (c == '\n') whole.push_back(line), line.clear();
      else line += c;
    torn = !line.empty();
  }
};

class plain_reader {
 public:
  explicit plain_reader(std::string text) : text_(std::move(text)) {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }
  [[nodiscard]] char now() const { return at_end() ? '\0' : text_[at_]; }
  [[nodiscard]] std::string rest() const { return text_.substr(at_); }

  bool next_is(const std::string& wanted) {
    if (text_.compare(at_, wanted.size(), wanted) != 0) return false;
    at_ += wanted.size();
    return true;
  }
  void literal(const std::string& wanted) { want(next_is(wanted)); }
  /// All that follows of these characters.
  std::string run_of(std::string_view of) {
    std::string found;
    while (!at_end() && of.find(text_[at_]) != std::string_view::npos) found += text_[at_++];
    return found;
  }
  /// All up to the first of these, or to the end.
  std::string up_to(std::string_view stop) {
    std::string found;
    while (!at_end() && stop.find(text_[at_]) == std::string_view::npos) found += text_[at_++];
    return found;
  }
  void blanks() { run_of(" \t"); }
  std::string word() {
    blanks();
    const std::string found = up_to(" \t\n");
    want(!found.empty());
    return found;
  }
  void words(int n) {
    while (n-- > 0) word();
  }
  void word_ends() const { want(at_end() || now() == ' ' || now() == '\t' || now() == '\n'); }

  wide natural(wide largest, unsigned base = 10) {
    blanks();
    return digits(largest, base);
  }
  wide integer(wide largest) {
    blanks();
    return next_is("-") ? -digits(largest + 1, 10) : digits(largest, 10);
  }

 private:
  wide digits(wide largest, unsigned base) {
    constexpr std::string_view all = "0123456789abcdefABCDEF";
    return plain_number(run_of(base == 16 ? all : all.substr(0, base)), base, largest);
  }

  std::string text_;
  std::size_t at_ = 0;
};

/// Whether read() gets to its end.
template <class Read>
bool can_be_read(Read read) {
  try {
    read();
    return true;
  } catch (const refused&) {
    return false;
  }
}

}  // namespace ckpt::fuzz
