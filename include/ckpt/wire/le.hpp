// SPDX-License-Identifier: MIT
//
// Field types of on-disk structures. A field's type says how many bytes it has, in which order,
// and which values are legal; a struct of them has alignment 1 and no padding, so the struct is
// the format and memcpy is the codec. Multi-byte values are little endian.
#pragma once

#include <array>
#include <boost/endian/conversion.hpp>
#include <concepts>
#include <cstring>
#include <type_traits>

#include "ckpt/base/types.hpp"

namespace ckpt::wire {

namespace detail {
template <class T>
struct storage {
  using type = T;
};
template <class T>
  requires std::is_enum_v<T>
struct storage<T> {
  using type = std::underlying_type_t<T>;
};
template <class T>
using storage_t = std::make_unsigned_t<typename storage<T>::type>;
}  // namespace detail

/// An integer or enumerator in little-endian byte order.
template <class T>
  requires std::integral<T> || std::is_enum_v<T>
class le {
  using word = detail::storage_t<T>;

 public:
  using value_type = T;
  le() = default;
  constexpr le(T value) { *this = value; }
  constexpr le& operator=(T value) {
    word w = boost::endian::native_to_little(static_cast<word>(value));
    for (std::size_t i = 0; i < sizeof(word); ++i)
      raw_[i] = static_cast<u8>(static_cast<u64>(w) >> (8 * i));
    return *this;
  }
  [[nodiscard]] constexpr T get() const {
    u64 w = 0;
    for (std::size_t i = 0; i < sizeof(word); ++i) w |= u64{raw_[i]} << (8 * i);
    return static_cast<T>(boost::endian::little_to_native(static_cast<word>(w)));
  }
  constexpr operator T() const { return get(); }

 private:
  std::array<u8, sizeof(word)> raw_ = {};
};

/// A set of bits of the enumeration E, whose legal bits are named by `constexpr auto all_of(E)`.
template <class E>
  requires std::is_enum_v<E>
class flags {
 public:
  using value_type = std::underlying_type_t<E>;
  flags() = default;
  constexpr flags(value_type bits) : bits_(bits) {}
  constexpr flags(E bit) : bits_(static_cast<value_type>(bit)) {}
  [[nodiscard]] constexpr value_type bits() const { return bits_.get(); }
  [[nodiscard]] constexpr bool has(E bit) const {
    return (bits() & static_cast<value_type>(bit)) != 0;
  }
  constexpr flags& set(E bit) {
    bits_ = static_cast<value_type>(bits() | static_cast<value_type>(bit));
    return *this;
  }

 private:
  le<value_type> bits_;
};

/// Text of at most N bytes, padded with zeros; not terminated when it fills the field.
template <std::size_t N>
class text {
 public:
  text() = default;
  constexpr text(std::string_view value) {
    for (std::size_t i = 0; i < N && i < value.size() && value[i] != '\0'; ++i) chars_[i] = value[i];
  }
  [[nodiscard]] constexpr std::string_view view() const {
    std::size_t n = 0;
    while (n < N && chars_[n] != '\0') ++n;
    return {chars_.data(), n};
  }
  [[nodiscard]] constexpr bool padded() const {
    for (std::size_t i = view().size(); i < N; ++i)
      if (chars_[i] != '\0') return false;
    return true;
  }

 private:
  std::array<char, N> chars_ = {};
};

/// N bytes without a number's meaning: identifiers, hashes, kernel structures kept as they are.
template <std::size_t N>
struct blob {
  std::array<u8, N> bytes = {};
  constexpr bool operator==(const blob&) const = default;
};

/// Bytes that must be zero, so that a later minor version can give them a meaning.
template <std::size_t N>
struct reserved {
  std::array<u8, N> bytes = {};
};

// --- legality of one field -------------------------------------------------------------------
/// Integers take every value; an enumeration E names its own by `constexpr bool legal(E)`.
template <class T>
constexpr bool valid(const le<T>& field) {
  if constexpr (std::is_enum_v<T>)
    return legal(field.get());
  else
    return true;
}
template <class E>
constexpr bool valid(const flags<E>& field) {
  return (field.bits() & ~static_cast<typename flags<E>::value_type>(all_of(E{}))) == 0;
}
template <std::size_t N>
constexpr bool valid(const text<N>& field) {
  return field.padded();
}
template <std::size_t N>
constexpr bool valid(const blob<N>&) {
  return true;
}
template <std::size_t N>
constexpr bool valid(const reserved<N>& field) {
  for (u8 b : field.bytes)
    if (b != 0) return false;
  return true;
}

}  // namespace ckpt::wire
