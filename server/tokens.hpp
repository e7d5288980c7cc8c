// SPDX-License-Identifier: MIT
//
// Who may do what: a file of tokens, one a line, each with `read` behind it when it may only read. A
// token is compared by its SHA-256, with every one there is and without an early end, so that the time
// tells nothing.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "ckpt/base/types.hpp"

namespace ckpt::server {

enum class access : u8 { none, read, write };

class tokens {
 public:
  /// Throws std::runtime_error: the file is not private, cannot be read, or has no token.
  void load(const std::string& path);

  [[nodiscard]] bool required() const { return !known_.empty(); }
  /// `field` is the Authorization field of a request.
  [[nodiscard]] access allowed(std::string_view field) const;

 private:
  using digest = std::array<unsigned char, 32>;
  struct known {
    digest hash;
    access what;
  };
  static digest hash_of(std::string_view token);
  std::vector<known> known_;
};

/// The token of `Bearer TOKEN`; empty when there is none. The scheme's case does not matter.
[[nodiscard]] constexpr std::string_view bearer_token(std::string_view field) {
  constexpr std::string_view scheme = "bearer ";
  if (field.size() <= scheme.size()) return {};
  for (std::size_t i = 0; i < scheme.size(); ++i) {
    const char c = field[i];
    if ((c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c) != scheme[i]) return {};
  }
  field.remove_prefix(scheme.size());
  while (field.starts_with(' ')) field.remove_prefix(1);
  while (field.ends_with(' ')) field.remove_suffix(1);
  return field;
}

}  // namespace ckpt::server
