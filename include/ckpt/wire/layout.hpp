// SPDX-License-Identifier: MIT
//
// Everything that follows from a record's description. Hana walks the adapted members once; the
// checks of layout, the codec, the validator, the document and the JSON all come from that walk,
// so a field cannot be present in one and missing in another.
#pragma once

#include <bit>
#include <boost/hana/accessors.hpp>
#include <boost/hana/adapt_struct.hpp>
#include <boost/hana/first.hpp>
#include <boost/hana/for_each.hpp>
#include <boost/hana/core/to.hpp>
#include <boost/hana/second.hpp>
#include <cstring>

#include "ckpt/base/result.hpp"
#include "ckpt/wire/le.hpp"

namespace ckpt::wire {

/// What docs/FORMAT.md says of a record: its name, one paragraph, one line a field in order.
template <std::size_t Fields>
struct description {
  std::string_view name;
  std::string_view summary;
  std::array<std::string_view, Fields> fields;
};
template <class... Lines>
description(std::string_view, std::string_view, Lines...) -> description<sizeof...(Lines)>;

/// Specialised beside each record.
template <class T>
inline constexpr int describe = 0;

/// Calls visit(name, field) for each member in order of declaration.
template <class T, class Visitor>
constexpr void for_each_field(T& record, Visitor&& visit) {
  boost::hana::for_each(boost::hana::accessors<std::remove_const_t<T>>(), [&](auto member) {
    visit(std::string_view(boost::hana::to<const char*>(boost::hana::first(member))),
          boost::hana::second(member)(record));
  });
}

// The accessor returns a reference only through an lvalue; this names the member's type.
template <class T>
[[nodiscard]] constexpr std::size_t field_count() {
  std::size_t n = 0;
  boost::hana::for_each(boost::hana::accessors<T>(), [&](auto) { ++n; });
  return n;
}

/// Bit-casts a ruler 0,1,2,… over the record and reads each field's first byte: the members are
/// all adapted, in order, without padding, exactly when each begins where the one before ends.
template <class T, std::size_t Size>
[[nodiscard]] consteval bool laid_out_in() {
  static_assert(sizeof(T) == Size, "the record's size is part of the format");
  static_assert(alignof(T) == 1, "a record is made of byte fields only");
  static_assert(Size <= 256, "the ruler is one byte wide");
  std::array<u8, Size> ruler{};
  for (std::size_t i = 0; i < Size; ++i) ruler[i] = static_cast<u8>(i);
  const T record = std::bit_cast<T>(ruler);
  std::size_t next = 0;
  bool good = true;
  boost::hana::for_each(boost::hana::accessors<T>(), [&](auto member) {
    const auto field = boost::hana::second(member)(record);
    const auto raw = std::bit_cast<std::array<u8, sizeof(field)>>(field);
    good = good && raw[0] == next;
    next += sizeof(field);
  });
  return good && next == Size;
}

/// Every field holds a legal value.
template <class T>
[[nodiscard]] constexpr bool valid_record(const T& record) {
  bool good = true;
  boost::hana::for_each(boost::hana::accessors<T>(), [&](auto member) {
    good = good && valid(boost::hana::second(member)(record));
  });
  return good;
}

/// The record at the start of `from`. A shorter input, as an older minor version wrote it, leaves
/// the fields it lacks zero.
template <class T>
[[nodiscard]] result<T> decode(bytes from) {
  T record{};
  std::memcpy(&record, from.data(), from.size() < sizeof(T) ? from.size() : sizeof(T));
  if (!valid_record(record)) return errc::malformed;
  return record;
}

}  // namespace ckpt::wire
