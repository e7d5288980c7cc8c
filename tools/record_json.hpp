// SPDX-License-Identifier: MIT
//
// A record as JSON, from the same walk over its fields that lays it out: a field cannot be
// forgotten here. docs/FORMAT.md documents the result.
#pragma once

#include <nlohmann/json.hpp>

#include "ckpt/wire/layout.hpp"
#include "enumerators.hpp"
#include "field_style.hpp"
#include "image_file.hpp"
#include "printable.hpp"

namespace ckpt::tools {

using json = nlohmann::ordered_json;

/// A string as it is when it is UTF-8, otherwise {"hex": …}: nothing is lost or replaced.
[[nodiscard]] json text_json(std::string_view text);

template <class Record>
struct field_to_json {
  std::string_view name;

  template <class T>
  json operator()(const wire::le<T>& field) const {
    if constexpr (std::is_enum_v<T>) {
      const auto& known = enumerators<T>();
      for (const auto& e : known)
        if (e.value == static_cast<u64>(field.get())) return e.name;
      return static_cast<u64>(field.get());
    } else {
      if (name == "extensions") return extension_names(static_cast<u64>(field.get()));
      if (name == "vm_flags") return vm_flag_names(static_cast<u64>(field.get()));
      if (in_hexadecimal<Record>(name, sizeof(T))) return hex_number(static_cast<u64>(field.get()));
      return field.get();
    }
  }
  template <class E>
  json operator()(const wire::flags<E>& field) const {
    json names = json::array();
    for (const auto& bit : flag_bits<E>())
      if (field.has(static_cast<E>(bit.value))) names.push_back(bit.name);
    return names;
  }
  template <std::size_t N>
  json operator()(const wire::text<N>& field) const {
    return text_json(field.view());
  }
  template <std::size_t N>
  json operator()(const wire::blob<N>& field) const {
    return hex_digits(bytes_of(field.bytes));
  }
};

/// An object with one member for each field but the reserved ones.
template <class Record>
[[nodiscard]] json to_json(const Record& record) {
  json object = json::object();
  wire::for_each_field(record, [&]<class Field>(std::string_view name, const Field& field) {
    if constexpr (requires { field_to_json<Record>{name}(field); })
      object[std::string(name)] = field_to_json<Record>{name}(field);
  });
  return object;
}

/// What a record's tail holds becomes one more member.
void add_tail(json& object, const state::host&, bytes tail);
void add_tail(json& object, const state::text& record, bytes tail);
void add_tail(json& object, const state::segment&, bytes tail);
void add_tail(json& object, const state::extents& record, bytes tail);
void add_tail(json& object, const state::open_file&, bytes tail);
void add_tail(json& object, const state::epoll& record, bytes tail);
template <class Record>
void add_tail(json& object, const Record&, bytes tail) {
  if (!tail.empty()) object["bytes"] = hex_digits(tail);
}

/// The records of the wanted types: {"type": [record, …], …}, in the order of the type numbers.
[[nodiscard]] json records_json(const image_file& image,
                                std::initializer_list<format::record_type> wanted);

/// Everything: the header, the trailer and every record.
[[nodiscard]] json image_json(const image_file& image);

}  // namespace ckpt::tools
