// SPDX-License-Identifier: MIT
//
// What the program has asked of the kernel and no other command shows: settings, limits, timers,
// signal actions, pages that cannot be touched. Straight from the records' descriptions, so a new
// field shows by itself.
#include "columns.hpp"
#include "commands.hpp"
#include "record_json.hpp"

namespace ckpt::tools {

namespace {

std::string cell(const json& value) {
  if (value.is_string()) return printable(value.get<std::string>());
  if (value.is_array()) {
    std::string all;
    for (const auto& each : value) all += (all.empty() ? "" : " ") + cell(each);
    return all;
  }
  return value.dump();
}

/// One line a field.
template <class Record>
void print_as_list(const image_file& image, std::ostream& out) {
  for (const auto& [record, tail] : image.all<Record>()) {
    out << '\n' << wire::describe<Record>.name << '\n';
    columns table({"", ""});
    json object = to_json(record);
    add_tail(object, record, tail);
    for (const auto& [name, value] : object.items())
      if (value != state::absent) table.add({"  " + name, cell(value)});
    table.print(out);
  }
}

/// One line a record.
template <class Record>
void print_as_table(const image_file& image, std::ostream& out) {
  const auto records = image.all<Record>();
  if (records.empty()) return;
  out << '\n' << wire::describe<Record>.name << '\n';
  std::vector<std::string> titles;
  const json nothing = to_json(Record{});
  for (const auto& [name, value] : nothing.items()) titles.push_back(">" + name);
  columns table(titles);
  for (const auto& [record, tail] : records) {
    std::vector<std::string> row;
    const json object = to_json(record);
    for (const auto& [name, value] : object.items()) row.push_back(cell(value));
    table.add(row);
  }
  table.print(out);
}

}  // namespace

void print_state(const image_file& image, std::ostream& out) {
  print_as_list<state::process_settings>(image, out);
  print_as_list<state::thread_settings>(image, out);
  print_as_list<state::credentials>(image, out);
  print_as_table<state::posix_timer>(image, out);
  print_as_table<state::interval_timer>(image, out);
  print_as_table<state::resource_limit>(image, out);
  print_as_table<state::signal_action>(image, out);
  print_as_table<state::trap_range>(image, out);
  print_as_list<state::shared_object>(image, out);
}

}  // namespace ckpt::tools
