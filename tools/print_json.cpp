// SPDX-License-Identifier: MIT
//
// The same walk for each command: which types of record it shows is all that differs.
#include "commands.hpp"
#include "json_stream.hpp"

namespace ckpt::tools {

namespace {

void print_records(const image_file& image, const request& asked,
                   std::initializer_list<format::record_type> types, std::ostream& out) {
  json_stream to(out);
  begin_document(to, asked);
  to.begin_object("records");
  stream_records(to, image, types);
  to.end_object();
  to.end_object();
}

}  // namespace

using format::record_type;

void begin_document(json_stream& to, const request& asked) {
  to.begin_object();
  to.member("command", std::string(asked.command));
  to.member("image", text_json(asked.image()));
}

void info_json(image_file& image, const request& asked, std::ostream& out) {
  json_stream to(out);
  begin_document(to, asked);
  to.member("header", to_json(image.header()));
  to.member("trailer", to_json(image.trailer()));
  to.begin_object("records");
  stream_all_records(to, image);
  to.end_object();
  to.end_object();
}

void segments_json(image_file& image, const request& asked, std::ostream& out) {
  print_records(image, asked, {record_type::segment, record_type::extents}, out);
}

void descriptors_json(image_file& image, const request& asked, std::ostream& out) {
  print_records(image, asked,
                {record_type::open_file, record_type::descriptor, record_type::file_lock,
                 record_type::pipe_content, record_type::event_counter, record_type::timer_file,
                 record_type::signal_file, record_type::epoll, record_type::socket_end},
                out);
}

void state_json(image_file& image, const request& asked, std::ostream& out) {
  print_records(image, asked,
                {record_type::process_settings, record_type::thread_settings,
                 record_type::credentials, record_type::posix_timer, record_type::interval_timer,
                 record_type::resource_limit, record_type::signal_action, record_type::trap_range,
                 record_type::shared_object},
                out);
}

void words_json(image_file& image, const request& asked, std::ostream& out) {
  const auto kind = asked.command == "cmdline" ? state::text_kind::command_line
                                               : state::text_kind::environment;
  json_stream to(out);
  begin_document(to, asked);
  to.begin_array("words");
  for (const auto& word : image.words(kind)) to.value(text_json(word));
  to.end_array();
  to.end_object();
}

}  // namespace ckpt::tools
