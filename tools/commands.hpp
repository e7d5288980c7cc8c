// SPDX-License-Identifier: MIT
//
// What readckpt can do with an image. Each writes to `out` and throws image_error when the image
// does not allow it.
#pragma once

#include <ostream>
#include <string>

#include "image_file.hpp"

namespace ckpt::tools {

void print_info(image_file& image, const std::string& name, std::ostream& out);
void print_segments(image_file& image, std::ostream& out);
void print_descriptors(const image_file& image, std::ostream& out);
void print_threads(image_file& image, std::ostream& out);
void print_state(const image_file& image, std::ostream& out);
void print_command_line(const image_file& image, std::ostream& out);
void print_environment(const image_file& image, std::ostream& out);

void info_json(const image_file& image, std::ostream& out);
void segments_json(const image_file& image, std::ostream& out);
void descriptors_json(const image_file& image, std::ostream& out);
void threads_json(const image_file& image, std::ostream& out);
void state_json(const image_file& image, std::ostream& out);

/// Reads all the data and says that it is as it was written.
void verify(image_file& image, const std::string& name, std::ostream& out);

/// ADDR[:LEN] as the command line has it.
struct dump_range {
  u64 address;
  u64 length;
  bool length_given;
};
[[nodiscard]] result<dump_range> parse_dump_range(std::string_view text);

/// Memory as hexdump -C shows it. A length that was not given is cut where the memory ends.
void dump(image_file& image, const dump_range& what, std::ostream& out);

}  // namespace ckpt::tools
