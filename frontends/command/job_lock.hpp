// SPDX-License-Identifier: MIT
//
// One --resume at a time for a name. A lock of the kernel's on a small file beside the image, which
// dies with the processes that hold it, on this machine and over NFS; the file is removed by whoever
// holds it last.
#pragma once

#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::command {

class job_lock {
 public:
  /// False when another one holds it, who is named in `holder`, or with errno in `error`.
  bool take(const std::string& image, std::string& holder, int& error);
  /// Removes the file. The lock itself goes with the last descriptor.
  void remove();
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  std::string path_;
  sys::unique_fd fd_;
};

}  // namespace ckpt::command
