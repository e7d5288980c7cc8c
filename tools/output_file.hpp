// SPDX-License-Identifier: MIT
//
// Where core, extract and map write: a file that appears under its name when it is complete, with
// holes where there is nothing but zeros, or standard output.
#pragma once

#include <string>

#include "ckpt/base/types.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::tools {

class output_file {
 public:
  /// Nobody but the owner may read it: it holds the program's secrets. "" and "-" are standard
  /// output. Throws named_error.
  explicit output_file(const std::string& name);
  output_file(const output_file&) = delete;
  output_file& operator=(const output_file&) = delete;
  ~output_file();

  void write(bytes what);
  /// That many zeros: a hole, where the output can have one.
  void skip(u64 count);
  [[nodiscard]] u64 position() const { return position_; }

  /// Everything is there. Without it a file is not made.
  void finish();

 private:
  void write_through(bytes what);
  void fill(u64 count);
  [[noreturn]] void fail(int error) const;

  std::string name_;
  std::string shown_;
  std::string temporary_;  // empty while the file has no name at all
  sys::unique_fd owned_;
  int fd_ = -1;
  bool replaces_ = false;
  bool seeks_ = false;
  u64 start_ = 0;
  u64 position_ = 0;
  u64 written_ = 0;  // what is behind it up to position_ is still to be skipped
};

}  // namespace ckpt::tools
