// SPDX-License-Identifier: MIT
//
// Everything but ASCII is escaped: JSON too is read on terminals.
#include "json_stream.hpp"

#include <algorithm>

namespace ckpt::tools {

namespace {

template <class Record>
void stream_type(json_stream& to, const image_file& image) {
  to.begin_array(wire::describe<Record>.name);
  image::for_each<Record>(image.metadata(), [&](const Record& fields, bytes tail) {
    if constexpr (std::is_same_v<Record, state::extents>) {
      to.begin_object();
      const json head = to_json(fields);
      for (const auto& [key, value] : head.items()) to.member(key, value);
      to.begin_array("extents");
      for (u64 i = 0; i < fields.count; ++i) to.value(to_json(image::extent_at(tail, i)));
      to.end_array();
      to.end_object();
    } else {
      json object = to_json(fields);
      add_tail(object, fields, tail);
      to.value(object);
    }
  });
  to.end_array();
}

}  // namespace

void json_stream::line() {
  out_ << '\n' << std::string(2 * has_elements_.size(), ' ');
}

void json_stream::separate() {
  if (has_elements_.empty()) return;
  if (has_elements_.back()) out_ << ',';
  has_elements_.back() = true;
  line();
}

void json_stream::name(std::string_view key) {
  separate();
  out_ << json(std::string(key)).dump(-1, ' ', true) << ": ";
}

void json_stream::open(char bracket, bool named) {
  if (!named) separate();
  out_ << bracket;
  has_elements_.push_back(false);
}

void json_stream::close(char bracket) {
  const bool any = has_elements_.back();
  has_elements_.pop_back();
  if (any) line();
  out_ << bracket;
  if (has_elements_.empty()) out_ << '\n';
}

void json_stream::print(const json& what) {
  const std::string text = what.dump(2, ' ', true);
  const std::string indent(2 * has_elements_.size(), ' ');
  std::size_t begin = 0;
  for (auto end = text.find('\n'); end != text.npos; end = text.find('\n', begin)) {
    out_ << std::string_view(text).substr(begin, end + 1 - begin) << indent;
    begin = end + 1;
  }
  out_ << std::string_view(text).substr(begin);
}

std::ostream& json_stream::raw_string(std::string_view key) {
  name(key);
  return out_ << '"';
}

void stream_records(json_stream& to, const image_file& image,
                    std::initializer_list<format::record_type> wanted) {
  image::all_records::for_each([&]<class Record>() {
    if (std::ranges::find(wanted, Record::record) != wanted.end()) stream_type<Record>(to, image);
  });
}

void stream_all_records(json_stream& to, const image_file& image) {
  image::all_records::for_each([&]<class Record>() { stream_type<Record>(to, image); });
}

}  // namespace ckpt::tools
