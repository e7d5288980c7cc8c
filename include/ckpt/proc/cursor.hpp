// SPDX-License-Identifier: MIT
//
// A place in a text that moves forward. The first thing that is not as asked marks the cursor as
// failed and every later call returns nothing, so a parser of forty numbers asks once, at the end.
#pragma once

#include <concepts>
#include <limits>

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"

namespace ckpt::proc {

class cursor {
 public:
  constexpr explicit cursor(std::string_view text) : rest_(text) {}

  [[nodiscard]] constexpr std::string_view rest() const { return rest_; }
  [[nodiscard]] constexpr bool at_end() const { return rest_.empty(); }
  [[nodiscard]] constexpr bool at_word_end() const {
    return rest_.empty() || rest_[0] == ' ' || rest_[0] == '\t' || rest_[0] == '\n';
  }
  [[nodiscard]] constexpr bool failed() const { return failed_; }
  constexpr void fail() {
    failed_ = true;
    rest_ = {};
  }

  /// True, and past it, if the text goes on with this.
  constexpr bool accept(std::string_view wanted) {
    if (failed_ || !rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(wanted.size());
    return true;
  }
  constexpr void expect(std::string_view wanted) {
    if (!accept(wanted)) fail();
  }
  constexpr void skip_blanks() {
    while (!rest_.empty() && (rest_[0] == ' ' || rest_[0] == '\t')) rest_.remove_prefix(1);
  }

  /// Up to the next blank, newline or end; empty is a failure.
  constexpr std::string_view word() {
    skip_blanks();
    std::size_t n = 0;
    while (n < rest_.size() && rest_[n] != ' ' && rest_[n] != '\t' && rest_[n] != '\n') ++n;
    if (n == 0) fail();
    const std::string_view found(rest_.data(), n);
    rest_.remove_prefix(n);
    return found;
  }
  constexpr void skip_words(unsigned n) {
    for (; n > 0; --n) (void)word();
  }

  /// Digits after any blanks, with a minus sign if T is signed; ends before the first other
  /// character. Out of T's bounds is a failure.
  template <std::integral T>
  constexpr T number(unsigned base = 10) {
    skip_blanks();
    bool negative = false;
    if constexpr (std::is_signed_v<T>) negative = accept("-");
    const u64 largest = static_cast<u64>(std::numeric_limits<T>::max()) + (negative ? 1 : 0);
    u64 value = 0;
    std::size_t n = 0;
    for (; n < rest_.size(); ++n) {
      const unsigned digit = digit_value(rest_[n]);
      if (digit >= base) break;
      if (__builtin_mul_overflow(value, u64{base}, &value) ||
          __builtin_add_overflow(value, u64{digit}, &value) || value > largest) {
        fail();
        return 0;
      }
    }
    if (n == 0) {
      fail();
      return 0;
    }
    rest_.remove_prefix(n);
    return static_cast<T>(negative ? u64{0} - value : value);
  }

 private:
  static constexpr unsigned digit_value(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return 16;
  }

  std::string_view rest_;
  bool failed_ = false;
};

/// Takes one line off the front of text, without its newline. A line without one is not whole.
[[nodiscard]] constexpr result<std::string_view> take_line(std::string_view& text) {
  const std::size_t n = [&] {
    std::size_t i = 0;
    while (i < text.size() && text[i] != '\n') ++i;
    return i;
  }();
  if (n == text.size()) return errc::end_of_input;
  const std::string_view line(text.data(), n);
  text.remove_prefix(n + 1);
  return line;
}

/// The text after "key:" and its blanks, in files of such lines (/proc/PID/status, fdinfo).
[[nodiscard]] constexpr result<std::string_view> line_of(std::string_view text,
                                                         std::string_view key) {
  while (!text.empty()) {
    const result<std::string_view> line = take_line(text);
    if (!line.ok()) return line.error();
    cursor at(*line);
    if (at.accept(key) && at.accept(":")) {
      at.skip_blanks();
      return at.rest();
    }
  }
  return errc::not_found;
}

/// The first number of that line.
template <std::integral T>
[[nodiscard]] constexpr result<T> number_of(std::string_view text, std::string_view key,
                                            unsigned base = 10) {
  const result<std::string_view> line = line_of(text, key);
  if (!line.ok()) return line.error();
  cursor at(*line);
  const T value = at.number<T>(base);
  if (at.failed() || !at.at_word_end()) return errc::malformed;
  return value;
}

}  // namespace ckpt::proc
