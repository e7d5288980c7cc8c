// SPDX-License-Identifier: MIT
//
// exec:COMMAND: a command of the shell with the stream on its standard input or output.
#pragma once

#include <sys/types.h>

#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::transfer {

class command {
 public:
  /// Throws transfer_error.
  command(const std::string& line, bool reads);
  ~command();
  command(const command&) = delete;
  command& operator=(const command&) = delete;

  [[nodiscard]] int end() const { return end_.get(); }
  /// Throws unless it takes it.
  void feed(bytes piece);
  /// Throws unless it has ended well.
  void finish();

 private:
  pid_t pid_ = 0;
  sys::unique_fd end_;
};

}  // namespace ckpt::transfer
