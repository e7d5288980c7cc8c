// SPDX-License-Identifier: MIT
//
// What a request may name. An image's name is a key of the catalogue and never part of a path on the
// server's disk, so no name can lead out of its directory; what looks like an attempt is refused all
// the same, because the name may become a file's at the other end.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ckpt/base/text.hpp"

namespace ckpt::server {

inline constexpr std::size_t longest_name = 1000;
inline constexpr std::size_t longest_component = 255;

namespace detail {

[[nodiscard]] constexpr int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Well-formed as RFC 3629 has it: nothing overlong, no surrogates, nothing above U+10FFFF.
[[nodiscard]] constexpr bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    std::size_t more = 0;
    unsigned long code = 0;
    if (first < 0x80) {
      ++i;
      continue;
    }
    if (first >= 0xc2 && first <= 0xdf) more = 1, code = first & 0x1f;
    else if (first >= 0xe0 && first <= 0xef) more = 2, code = first & 0x0f;
    else if (first >= 0xf0 && first <= 0xf4) more = 3, code = first & 0x07;
    else return false;
    if (text.size() - i <= more) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      if ((next & 0xc0) != 0x80) return false;
      code = code << 6 | (next & 0x3f);
    }
    if (more == 2 && (code < 0x800 || (code >= 0xd800 && code <= 0xdfff))) return false;
    if (more == 3 && (code < 0x10000 || code > 0x10ffff)) return false;
    i += more + 1;
  }
  return true;
}

}  // namespace detail

/// Why an image may not be called so; nothing when it may.
[[nodiscard]] inline std::optional<std::string> fault_of_name(std::string_view name) {
  if (name.empty()) return "the name is empty";
  if (name.size() > longest_name)
    return "the name has more than " + std::to_string(longest_name) + " bytes";
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (c < 0x20 || c == 0x7f) return "the name has a control character";
    if (c == '\\') return "the name has a backslash";
    if (c == '%' && i + 2 < name.size() && detail::hex_digit(name[i + 1]) >= 0 &&
        detail::hex_digit(name[i + 2]) >= 0)
      return "the name is encoded twice";
  }
  if (!detail::is_utf8(name)) return "the name is not UTF-8";
  for (std::string_view rest = name;;) {
    const auto slash = rest.find('/');
    const auto part = rest.substr(0, slash);
    if (part.empty()) return "the name has an empty component";
    if (part == "." || part == "..") return "the name has a component . or ..";
    if (part.size() > longest_component)
      return "a component of the name has more than " + std::to_string(longest_component) + " bytes";
    if (slash == std::string_view::npos) return std::nullopt;
    rest = rest.substr(slash + 1);
  }
}

/// %41 is A. Nothing where an escape is malformed.
[[nodiscard]] inline std::optional<std::string> percent_decoded(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (text.size() - i < 3) return std::nullopt;
    const int high = detail::hex_digit(text[i + 1]);
    const int low = detail::hex_digit(text[i + 2]);
    if (high < 0 || low < 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

struct request_target {
  std::string name;  // empty: the list
  std::optional<u64> version;
};

/// From the request line: /NAME, /NAME?version=N, / for the list; or the whole URL, as a proxy's client
/// sends it. On failure `why` has the reason.
[[nodiscard]] inline std::optional<request_target> parse_target(std::string_view text,
                                                                std::string& why) {
  request_target target;
  for (const std::string_view scheme : {"http://", "https://"})
    if (text.starts_with(scheme)) {
      text.remove_prefix(scheme.size());
      const auto slash = text.find('/');
      text = slash == std::string_view::npos ? "/" : text.substr(slash);
    }
  if (!text.starts_with('/')) {
    why = "the target does not begin with /";
    return std::nullopt;
  }
  text.remove_prefix(1);
  const auto question = text.find('?');
  if (question != std::string_view::npos) {
    auto query = text.substr(question + 1);
    text = text.substr(0, question);
    constexpr std::string_view key = "version=";
    if (!query.empty()) {
      const auto number =
          query.starts_with(key) ? parse_number(query.substr(key.size())) : result<u64>(errc::malformed);
      if (!number.ok() || *number > (~u64{0} >> 1)) {
        why = "the query is not version=NUMBER";
        return std::nullopt;
      }
      target.version = *number;
    }
  }
  if (text.empty()) return target;
  auto name = percent_decoded(text);
  if (!name) {
    why = "the name has a malformed % escape";
    return std::nullopt;
  }
  if (auto fault = fault_of_name(*name)) {
    why = *fault;
    return std::nullopt;
  }
  target.name = std::move(*name);
  return target;
}

}  // namespace ckpt::server
