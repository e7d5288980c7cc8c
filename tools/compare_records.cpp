// SPDX-License-Identifier: MIT
#include "compare_records.hpp"

#include <map>
#include <set>

#include "printable.hpp"
#include "record_json.hpp"

namespace ckpt::tools {

namespace {

/// Objects by a key; the fields of the same key are compared.
using keyed = std::map<std::string, json>;

std::vector<record_change> changes_of(const std::string& record, const keyed& a, const keyed& b) {
  std::vector<record_change> all;
  // Numbers in their order.
  const auto order = [](const std::string& x, const std::string& y) {
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  };
  std::set<std::string, decltype(order)> keys(order);
  for (const auto& [key, value] : a) keys.insert(key);
  for (const auto& [key, value] : b) keys.insert(key);
  for (const auto& key : keys) {
    const auto x = a.find(key), y = b.find(key);
    if (x == a.end() || y == b.end()) {
      record_change c{record, key, x == a.end() ? change::added : change::removed, {}};
      const json& fields = x == a.end() ? y->second : x->second;
      for (const auto& [name, value] : fields.items())
        c.fields.push_back(x == a.end() ? difference{name, json(), value}
                                        : difference{name, value, json()});
      all.push_back(std::move(c));
      continue;
    }
    record_change c{record, key, change::same, {}};
    for (const auto& [name, value] : x->second.items()) {
      const json other = y->second.contains(name) ? y->second[name] : json();
      if (value != other) c.fields.push_back({name, value, other});
    }
    for (const auto& [name, value] : y->second.items())
      if (!x->second.contains(name)) c.fields.push_back({name, json(), value});
    if (!c.fields.empty()) all.push_back(std::move(c));
  }
  return all;
}

template <class Record>
keyed by(const image_file& image, const char* key) {
  keyed all;
  for (const auto& [fields, tail] : image.all<Record>()) {
    json object = tools::to_json(fields);
    add_tail(object, fields, tail);
    std::string name = key == nullptr ? "" : object[key].dump();
    if (key != nullptr) object.erase(key);
    all.emplace(std::move(name), std::move(object));
  }
  return all;
}

keyed threads_of(const image_file& image) {
  keyed all = by<state::thread>(image, "tid");
  for (const auto& [s, raw] : image.all<state::extended_state>()) {
    const auto found = all.find(std::to_string(s.tid));
    if (found != all.end())
      found->second["extended_state_" + std::to_string(s.component)] = hex_digits(raw);
  }
  return all;
}

keyed descriptors_of(const image_file& image) {
  keyed all;
  const auto files = image.all<state::open_file>();
  for (const auto& [d, tail] : image.all<state::descriptor>()) {
    const auto& f = files.at(d.open_file);
    json object = tools::to_json(f.fields);
    add_tail(object, f.fields, f.tail);
    for (const char* name : {"id", "content"}) object.erase(name);
    object["descriptor_flags"] = d.flags.get();
    all.emplace(std::to_string(d.number), std::move(object));
  }
  return all;
}

/// Words as fields, so that each that differs is told by itself.
keyed words_of(const image_file& image, state::text_kind kind) {
  json object = json::object();
  std::size_t number = 0;
  for (const auto& word : image.words(kind)) {
    const auto equals = word.find('=');
    const std::string shown = printable(word);
    if (kind == state::text_kind::environment && equals != word.npos)
      object[printable(word.substr(0, equals))] = text_json(word.substr(equals + 1));
    else
      object[std::to_string(number++)] = text_json(word);
  }
  return {{"", object}};
}

}  // namespace

std::vector<record_change> descriptor_changes(const image_file& a, const image_file& b) {
  return changes_of("descriptor", descriptors_of(a), descriptors_of(b));
}

std::vector<record_change> thread_changes(const image_file& a, const image_file& b) {
  return changes_of("thread", threads_of(a), threads_of(b));
}

std::vector<record_change> state_changes(const image_file& a, const image_file& b) {
  std::vector<record_change> all;
  const auto add = [&](const char* record, const keyed& x, const keyed& y) {
    for (auto& c : changes_of(record, x, y)) all.push_back(std::move(c));
  };
  const auto one = [&]<class Record>(const char* key) {
    add(std::string(wire::describe<Record>.name).c_str(), by<Record>(a, key), by<Record>(b, key));
  };
  add("command_line", words_of(a, state::text_kind::command_line),
      words_of(b, state::text_kind::command_line));
  add("environment", words_of(a, state::text_kind::environment),
      words_of(b, state::text_kind::environment));
  const auto text = [](const image_file& image, state::text_kind kind) {
    return keyed{{"", {{"text", text_json(image.text(kind))}}}};
  };
  add("program", text(a, state::text_kind::program), text(b, state::text_kind::program));
  add("directory", text(a, state::text_kind::directory), text(b, state::text_kind::directory));
  one.operator()<state::host>(nullptr);
  one.operator()<state::process>(nullptr);
  one.operator()<state::cpu>(nullptr);
  one.operator()<state::memory_layout>(nullptr);
  one.operator()<state::process_settings>(nullptr);
  one.operator()<state::thread_settings>("tid");
  one.operator()<state::credentials>("tid");
  one.operator()<state::resource_limit>("resource");
  one.operator()<state::signal_action>("signal");
  one.operator()<state::posix_timer>("id");
  one.operator()<state::interval_timer>("which");
  one.operator()<state::pipe_content>("inode");
  return all;
}

}  // namespace ckpt::tools
