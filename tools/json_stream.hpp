// SPDX-License-Identifier: MIT
//
// JSON written as it comes: a list of millions of extents is printed with one of them in memory.
#pragma once

#include <ostream>
#include <string_view>
#include <vector>

#include "record_json.hpp"

namespace ckpt::tools {

class json_stream {
 public:
  explicit json_stream(std::ostream& out) : out_(out) {}
  json_stream(const json_stream&) = delete;
  json_stream& operator=(const json_stream&) = delete;

  void begin_object() { open('{'); }
  void begin_object(std::string_view key) { name(key), open('{', true); }
  void begin_array(std::string_view key) { name(key), open('[', true); }
  void end_object() { close('}'); }
  void end_array() { close(']'); }

  /// A whole value: an element of the array, or with its key a member of the object.
  void value(const json& what) { separate(), print(what); }
  void member(std::string_view key, const json& what) { name(key), print(what); }

  /// A string that comes in pieces; only what needs no escapes.
  std::ostream& raw_string(std::string_view key);
  void end_raw_string() { out_ << '"'; }

 private:
  void separate();
  void name(std::string_view key);
  void open(char bracket, bool named = false);
  void close(char bracket);
  void print(const json& what);
  void line();

  std::ostream& out_;
  std::vector<bool> has_elements_;
};

/// The records of the wanted types, as members of the open object: records_json, one at a time.
void stream_records(json_stream& to, const image_file& image,
                    std::initializer_list<format::record_type> wanted);
void stream_all_records(json_stream& to, const image_file& image);

}  // namespace ckpt::tools
