// SPDX-License-Identifier: MIT
//
// The names of enumerators as the source spells them, so that JSON and the format's document never
// need a second list. Compilers print a template's argument by its name where it has one.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ckpt/wire/le.hpp"

namespace ckpt::tools {

/// Empty for a value without a name.
template <auto Value>
[[nodiscard]] constexpr std::string_view enumerator_name() {
  // g++: "… [with auto Value = ckpt::a::b; …]", clang: "… [Value = ckpt::a::b]".
  std::string_view text = __PRETTY_FUNCTION__;
  text.remove_prefix(text.find("Value = ") + 8);
  text = text.substr(0, text.find_first_of(";]"));
  if (text.starts_with('(')) return {};
  return text.substr(text.rfind(':') + 1);
}

struct enumerator {
  u64 value;
  std::string_view name;
};

namespace detail {
template <class E, bool Bits, std::size_t... I>
std::vector<enumerator> collect(std::index_sequence<I...>) {
  constexpr auto value = [](std::size_t i) { return Bits ? u64{1} << i : u64{i}; };
  std::vector<enumerator> all;
  const auto add = [&](u64 v, std::string_view name) {
    if (!name.empty()) all.push_back({v, name});
  };
  (add(value(I), enumerator_name<static_cast<E>(value(I))>()), ...);
  return all;
}
}  // namespace detail

/// The named values of an enumeration; those of the format are all below 128.
template <class E>
[[nodiscard]] const std::vector<enumerator>& enumerators() {
  static const auto all = detail::collect<E, false>(std::make_index_sequence<128>());
  return all;
}

/// The named bits of an enumeration of flags.
template <class E>
[[nodiscard]] const std::vector<enumerator>& flag_bits() {
  static const auto all =
      detail::collect<E, true>(std::make_index_sequence<8 * sizeof(std::underlying_type_t<E>)>());
  return all;
}

/// The value in decimal when it has no name.
template <class E>
[[nodiscard]] std::string name_of(E value) {
  for (const auto& e : enumerators<E>())
    if (e.value == static_cast<u64>(value)) return std::string(e.name);
  return std::to_string(static_cast<u64>(value));
}

/// A name as people read it: private_file → private file.
template <class E>
[[nodiscard]] std::string spoken_name(E value) {
  std::string name = name_of(value);
  for (char& c : name)
    if (c == '_') c = ' ';
  return name;
}

}  // namespace ckpt::tools
