// SPDX-License-Identifier: MIT
//
// What is particular to some record: the meaning of its tail. Everything else is the walk.
#include "record_json.hpp"

#include <algorithm>

namespace ckpt::tools {

namespace {

json words_json(std::string_view text) {
  json words = json::array();
  while (!text.empty()) {
    const auto end = std::min(text.find('\0'), text.size());
    words.push_back(text_json(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// Pairs of a type and a value (getauxval(3)).
json auxiliary_json(bytes vector) {
  json entries = json::array();
  for (; vector.size() >= 16; vector = vector.subspan(16)) {
    wire::le<u64> type, value;
    std::memcpy(&type, vector.data(), sizeof type);
    std::memcpy(&value, vector.data() + sizeof type, sizeof value);
    entries.push_back({type.get(), hex_number(value)});
  }
  return entries;
}

}  // namespace

json text_json(std::string_view text) {
  if (is_utf8(text)) return text;
  return {{"hex", hex_digits(bytes_of_text(text))}};
}

void add_tail(json& object, const state::host&, bytes tail) {
  object["version"] = text_json(text_of_bytes(tail));
}

void add_tail(json& object, const state::text& record, bytes tail) {
  switch (record.kind) {
    case state::text_kind::command_line:
    case state::text_kind::environment:
      object["words"] = words_json(text_of_bytes(tail));
      break;
    case state::text_kind::auxiliary_vector:
      object["entries"] = auxiliary_json(tail);
      break;
    default:
      object["text"] = text_json(text_of_bytes(tail));
      break;
  }
}

void add_tail(json& object, const state::segment&, bytes tail) {
  object["name"] = text_json(text_of_bytes(tail));
}

void add_tail(json& object, const state::extents& record, bytes tail) {
  json list = json::array();
  for (u64 i = 0; i < record.count; ++i) list.push_back(to_json(image::extent_at(tail, i)));
  object["extents"] = std::move(list);
}

void add_tail(json& object, const state::open_file&, bytes tail) {
  object["path"] = text_json(text_of_bytes(tail));
}

void add_tail(json& object, const state::epoll& record, bytes tail) {
  json list = json::array();
  for (u64 i = 0; i < record.count; ++i) list.push_back(to_json(state::epoll_entry_at(tail, i)));
  object["entries"] = std::move(list);
}

json records_json(const image_file& image, std::initializer_list<format::record_type> wanted) {
  json records = json::object();
  image::all_records::for_each([&]<class Record>() {
    if (std::ranges::find(wanted, Record::record) == wanted.end()) return;
    json list = json::array();
    for (const auto& [fields, tail] : image.all<Record>()) {
      json object = to_json(fields);
      add_tail(object, fields, tail);
      list.push_back(std::move(object));
    }
    records[std::string(wire::describe<Record>.name)] = std::move(list);
  });
  return records;
}

json image_json(const image_file& image) {
  json records = json::object();
  image::all_records::for_each(
      [&]<class Record>() { records.update(records_json(image, {Record::record})); });
  return {{"header", to_json(image.header())},
          {"trailer", to_json(image.trailer())},
          {"records", std::move(records)}};
}

}  // namespace ckpt::tools
