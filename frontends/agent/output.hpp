// SPDX-License-Identifier: MIT
//
// Where the agent's messages go: to descriptor 2 while that is still the object it was when the
// library was loaded (a program may have closed it and opened a database there), otherwise to the
// file CKPT_LOG names, else nowhere.
#pragma once

#include <cstddef>

#include "ckpt/base/text.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

class output {
 public:
  // Context: library load, and after a restart
  void remember() {
    sys::abi::stat st{};
    known_ = !lost_ && sys::fstat(2, st).ok();
    device_ = st.st_dev;
    inode_ = st.st_ino;
    birth_ = birth_of(st);
  }
  /// What a restart puts on descriptor 2 is ours only if what is there now is.
  // Context: signal handler
  void look() { lost_ = !is_same(); }
  /// A filter (seccomp) may kill for a call that is not common.
  // Context: signal handler
  void be_careful(bool careful) { careful_ = careful; }

  /// Whether descriptor 2 is still what it was.
  // Context: helper, before its copy of it is closed
  [[nodiscard]] bool is_there() const { return is_same(); }

  // Context: any, no libc
  void line(std::string_view text, std::string_view log) const {
    fixed_text<2600> out;
    out.append("ckpt: ").append(text).append('\n');
    if (is_same()) {
      write(2, out.view());
      return;
    }
    if (log.empty()) return;
    fixed_text<4096> path;
    path.append(log);
    const sys::unique_fd fd(sys::openat(sys::abi::at_fdcwd, path.c_str(),
                                        sys::abi::o_wronly | sys::abi::o_creat |
                                            sys::abi::o_append | sys::abi::o_cloexec |
                                            sys::abi::o_noctty | sys::abi::o_nofollow |
                                            sys::abi::o_nonblock,
                                        0600)
                                .value_or(-1));
    if (fd) write(fd.get(), out.view());
  }

 private:
  [[nodiscard]] bool is_same() const {
    sys::abi::stat st{};
    return known_ && sys::fstat(2, st).ok() && st.st_dev == device_ && st.st_ino == inode_ &&
           (careful_ || birth_of(st) == birth_);
  }
  /// File systems give the number of a removed file to a new one. Nanoseconds; 0 where none is kept.
  // Source: statx(2), linux/stat.h.
  static i64 birth_of(const sys::abi::stat& st) {
    if ((st.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg) return 0;
    struct {
      u32 mask;
      u32 before[19];
      i64 seconds;
      u32 nanoseconds;
      u32 after[41];
    } x{};
    static_assert(sizeof x == 256 && offsetof(decltype(x), seconds) == 80);
    constexpr u32 empty_path = 0x1000, birth = 0x800;
    const auto r = sys::checked<void>(sys::invoke(__NR_statx, 2, "", empty_path, birth, &x));
    return r.ok() && (x.mask & birth) != 0 ? x.seconds * 1'000'000'000 + x.nanoseconds : 0;
  }

  /// A reader that has gone (SIGPIPE) or a file at the limit of its size (SIGXFSZ) costs us the line
  /// and must not cost the program its life: the signal is ours, so it is taken back.
  /// Only calls that a seccomp filter is sure to know, while nothing goes wrong.
  static void write(int fd, std::string_view text) {
    constexpr u64 ours = u64{1} << (sys::abi::sig_pipe - 1) | u64{1} << (sys::abi::sig_xfsz - 1);
    u64 mask = 0;
    (void)sys::rt_sigprocmask(sys::abi::sig_block, &ours, &mask);
    sys::linux_files kernel;
    if (!sys::write_all(kernel, fd, bytes_of_text(text)).ok()) {
      sys::abi::siginfo info{};
      (void)sys::rt_sigtimedwait(ours, info, {0, 0});
    }
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &mask, nullptr);
  }

  bool known_ = false;
  bool lost_ = false;  // at the latest checkpoint the program had put something else there
  u64 device_ = 0;
  u64 inode_ = 0;
  i64 birth_ = 0;
  bool careful_ = false;
};

}  // namespace ckpt::agent
