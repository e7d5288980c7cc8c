// SPDX-License-Identifier: MIT
//
// What readckpt can do with an image. Each writes to `out`, or to the file that the command line
// names, and throws image_error when the image does not allow it.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "image_file.hpp"

namespace ckpt::tools {

class json_stream;

/// The command line behind the options.
struct request {
  std::string_view command = "info";
  std::vector<std::string> operands;  // behind the command; the image is the first
  std::string output;                 // a file, or "" and "-" for standard output
  std::string format;                 // svg, html, text, or "" where none was asked for
  bool json = false;

  [[nodiscard]] const std::string& image() const { return operands.front(); }
};

/// Opens the document that every command prints with --json: which it is, of what.
void begin_document(json_stream& to, const request& asked);

void print_info(image_file& image, const std::string& name, std::ostream& out);
void print_segments(image_file& image, std::ostream& out);
void print_descriptors(const image_file& image, std::ostream& out);
/// One line for each thread.
void print_threads(image_file& image, std::ostream& out);
/// Everything about each: registers and a backtrace, too.
void print_threads_at_length(image_file& image, std::ostream& out);
void print_state(const image_file& image, std::ostream& out);
void print_command_line(const image_file& image, std::ostream& out);
void print_environment(const image_file& image, std::ostream& out);
void print_gdb(image_file& image, const request& asked, std::ostream& out);

void info_json(image_file& image, const request& asked, std::ostream& out);
void segments_json(image_file& image, const request& asked, std::ostream& out);
void descriptors_json(image_file& image, const request& asked, std::ostream& out);
void threads_json(image_file& image, const request& asked, std::ostream& out);
void state_json(image_file& image, const request& asked, std::ostream& out);
void words_json(image_file& image, const request& asked, std::ostream& out);

/// Reads all the data and says that it is as it was written.
void verify(image_file& image, const request& asked, std::ostream& out);

/// ADDR[:LEN] as the command line has it.
struct dump_range {
  u64 address;
  u64 length;
  bool length_given;
};
[[nodiscard]] result<dump_range> parse_dump_range(std::string_view text);

/// Memory as hexdump -C shows it. A length that was not given is cut where the memory ends.
void dump(image_file& image, const dump_range& what, std::ostream& out);
void dump_json(image_file& image, const dump_range& what, const request& asked, std::ostream& out);

void write_core(image_file& image, const request& asked);
/// A piece of the image as a file, or a list of what there is.
void extract(image_file& image, const request& asked, std::ostream& out);
void draw_map(image_file& image, const request& asked, std::ostream& out);
/// What is different in the second image.
void compare(image_file& a, image_file& b, const request& asked, std::ostream& out);

}  // namespace ckpt::tools
