// SPDX-License-Identifier: MIT
//
// Where the agent's messages go: to descriptor 2 while that is still the object it was when the
// library was loaded (a program may have closed it and opened a database there), otherwise to the
// file CKPT_LOG names, else nowhere.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

class output {
 public:
  // Context: library load, and after a restart
  void remember() {
    sys::abi::stat st{};
    known_ = sys::fstat(2, st).ok();
    device_ = st.st_dev;
    inode_ = st.st_ino;
  }

  // Context: any, no libc
  void line(std::string_view text, std::string_view log) const {
    fixed_text<2600> out;
    out.append("ckpt: ").append(text).append('\n');
    sys::linux_files kernel;
    sys::abi::stat st{};
    if (known_ && sys::fstat(2, st).ok() && st.st_dev == device_ && st.st_ino == inode_) {
      (void)sys::write_all(kernel, 2, bytes_of_text(out.view()));
      return;
    }
    if (log.empty()) return;
    fixed_text<4096> path;
    path.append(log);
    const sys::unique_fd fd(sys::openat(sys::abi::at_fdcwd, path.c_str(),
                                        sys::abi::o_wronly | sys::abi::o_creat |
                                            sys::abi::o_append | sys::abi::o_cloexec |
                                            sys::abi::o_noctty | sys::abi::o_nofollow,
                                        0600)
                                .value_or(-1));
    if (fd) (void)sys::write_all(kernel, fd.get(), bytes_of_text(out.view()));
  }

 private:
  bool known_ = false;
  u64 device_ = 0;
  u64 inode_ = 0;
};

}  // namespace ckpt::agent
