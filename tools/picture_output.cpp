// SPDX-License-Identifier: MIT
//
// Piece by piece: a program may have many thousand mappings.
#include "picture_output.hpp"

#include <streambuf>

#include "output_file.hpp"

namespace ckpt::tools {

namespace {

class file_buffer final : public std::streambuf {
 public:
  explicit file_buffer(output_file& file) : file_(file) {}

 private:
  int_type overflow(int_type c) override {
    if (c != traits_type::eof()) {
      const char one = static_cast<char>(c);
      xsputn(&one, 1);
    }
    return traits_type::not_eof(c);
  }
  std::streamsize xsputn(const char* text, std::streamsize n) override {
    held_.append(text, static_cast<std::size_t>(n));
    if (held_.size() >= 65536) sync();
    return n;
  }
  int sync() override {
    file_.write(bytes_of_text(held_));
    held_.clear();
    return 0;
  }

  output_file& file_;
  std::string held_;
};

}  // namespace

void write_picture(const picture& what, const request& asked) {
  output_file file(asked.output);
  file_buffer buffer(file);
  std::ostream out(&buffer);
  out.exceptions(std::ios::badbit);
  if (asked.format == "html")
    write_html(what, out);
  else
    write_svg(what, out);
  out.flush();
  file.finish();
}

}  // namespace ckpt::tools
