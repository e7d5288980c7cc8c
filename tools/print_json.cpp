// SPDX-License-Identifier: MIT
//
// The same walk for each command: which types of record it shows is all that differs.
#include "commands.hpp"
#include "record_json.hpp"

namespace ckpt::tools {

namespace {

// Everything but ASCII is escaped: JSON too is read on terminals.
void print(const json& document, std::ostream& out) {
  constexpr bool only_ascii = true;
  out << document.dump(2, ' ', only_ascii) << '\n';
}

void print_records(const image_file& image, std::initializer_list<format::record_type> types,
                   std::ostream& out) {
  print({{"records", records_json(image, types)}}, out);
}

}  // namespace

using format::record_type;

void info_json(const image_file& image, std::ostream& out) {
  print(image_json(image), out);
}

void segments_json(const image_file& image, std::ostream& out) {
  print_records(image, {record_type::segment, record_type::extents}, out);
}

void descriptors_json(const image_file& image, std::ostream& out) {
  print_records(image,
                {record_type::open_file, record_type::descriptor, record_type::file_lock,
                 record_type::pipe_content, record_type::event_counter, record_type::timer_file,
                 record_type::signal_file, record_type::epoll, record_type::socket_end},
                out);
}

void threads_json(const image_file& image, std::ostream& out) {
  print_records(
      image, {record_type::thread, record_type::extended_state, record_type::pending_signal}, out);
}

void state_json(const image_file& image, std::ostream& out) {
  print_records(image,
                {record_type::process_settings, record_type::thread_settings,
                 record_type::credentials, record_type::posix_timer, record_type::interval_timer,
                 record_type::resource_limit, record_type::signal_action, record_type::trap_range},
                out);
}

}  // namespace ckpt::tools
