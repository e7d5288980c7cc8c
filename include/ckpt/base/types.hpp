// SPDX-License-Identifier: MIT
//
// The few names every layer uses. Nothing here needs a libc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace ckpt {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using i16 = std::int16_t;
using i32 = std::int32_t;
using i64 = std::int64_t;

using bytes = std::span<const std::byte>;
using mutable_bytes = std::span<std::byte>;

inline constexpr u64 page_size = 4096;

/// The object representation of a trivially copyable value.
template <class T>
[[nodiscard]] bytes bytes_of(const T& value) {
  return std::as_bytes(std::span<const T, 1>(&value, 1));
}

/// The bytes of a text, without a terminator.
[[nodiscard]] inline bytes bytes_of_text(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

[[nodiscard]] inline std::string_view text_of_bytes(bytes raw) {
  return {reinterpret_cast<const char*>(raw.data()), raw.size()};
}

}  // namespace ckpt
