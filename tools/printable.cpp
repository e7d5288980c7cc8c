// SPDX-License-Identifier: MIT
//
// The UTF-8 decoder is strict (no overlong forms, no surrogates), because terminals differ in what
// they make of the rest.
#include "printable.hpp"

#include <algorithm>
#include <cstdio>
#include <range/v3/range/conversion.hpp>
#include <range/v3/view/join.hpp>
#include <range/v3/view/transform.hpp>

namespace ckpt::tools {

namespace {

// The length of the UTF-8 sequence at the start of `text`, 0 when there is none.
std::size_t decode_one(std::string_view text, u32& code) {
  const auto byte = [&](std::size_t i) { return static_cast<u8>(text[i]); };
  const u8 lead = byte(0);
  const std::size_t n = lead < 0x80   ? 1
                        : lead < 0xc2 ? 0
                        : lead < 0xe0 ? 2
                        : lead < 0xf0 ? 3
                        : lead < 0xf5 ? 4
                                      : 0;
  if (n == 0 || n > text.size()) return 0;
  code = n == 1 ? lead : lead & (0xffu >> (n + 1));
  for (std::size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const u32 smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
  return n;
}

bool harmless(u32 code) {
  if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return false;
  if (code == 0x61c || code == 0x200e || code == 0x200f) return false;  // direction marks
  if (code >= 0x2028 && code <= 0x202e) return false;  // line separators, overrides
  return code < 0x2066 || code > 0x2069;               // isolates
}

void append_octal(std::string& to, u8 byte) {
  to += '\\';
  to += static_cast<char>('0' + (byte >> 6));
  to += static_cast<char>('0' + (byte >> 3 & 7));
  to += static_cast<char>('0' + (byte & 7));
}

template <class... Numbers>
std::string formatted(const char* how, Numbers... numbers) {
  char buffer[64];
  const int n = std::snprintf(buffer, sizeof buffer, how, numbers...);
  return {buffer, static_cast<std::size_t>(n)};
}

}  // namespace

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    u32 code = 0;
    const std::size_t n = decode_one(text, code);
    if (n != 0 && harmless(code))
      out += text.substr(0, n);
    else
      for (char c : text.substr(0, std::max<std::size_t>(n, 1)))
        append_octal(out, static_cast<u8>(c));
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    u32 code = 0;
    const std::size_t n = decode_one(text, code);
    if (n == 0) return false;
    text.remove_prefix(n);
  }
  return true;
}

std::string shell_word(std::string_view word) {
  constexpr std::string_view bare =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!word.empty() && word.find_first_not_of(bare) == word.npos) return std::string(word);
  if (printable(word) != word) {
    // The escapes of $'…' are those of printable(); its quotes and backslashes are not.
    std::string escaped;
    for (char c : word) {
      if (c == '\'' || c == '\\') escaped += '\\';
      escaped += c;
    }
    return "$'" + printable(escaped) + "'";
  }
  std::string out = "'";
  for (char c : word) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

std::string shell_line(const std::vector<std::string>& words) {
  return words | ranges::views::transform(shell_word) | ranges::views::join(' ') |
         ranges::to<std::string>();
}

std::string hex_digits(bytes raw) {
  std::string out;
  for (std::byte b : raw) {
    out += "0123456789abcdef"[std::to_integer<u8>(b) >> 4];
    out += "0123456789abcdef"[std::to_integer<u8>(b) & 15];
  }
  return out;
}

std::string hex_number(u64 value) {
  return formatted("0x%llx", static_cast<unsigned long long>(value));
}

std::string address_text(u64 address) {
  return formatted("%012llx", static_cast<unsigned long long>(address));
}

std::string octal_number(u32 value, int digits) {
  return formatted("%0*o", digits, value);
}

std::string size_text(u64 bytes) {
  if (bytes == 0) return "0";
  if (bytes < 1024) return std::to_string(bytes) + " B";
  const char* unit = "KMGTPE";
  double value = static_cast<double>(bytes) / 1024;
  while (value >= 1023.95) {
    value /= 1024;
    ++unit;
  }
  const bool whole = value >= 100 || value == static_cast<double>(static_cast<u64>(value));
  return formatted(whole ? "%.0f %ciB" : "%.1f %ciB", value, *unit);
}

}  // namespace ckpt::tools
