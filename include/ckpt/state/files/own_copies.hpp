// SPDX-License-Identifier: MIT
//
// What /proc does not tell of the program's open files, asked of the copies that the helper has of
// them. Whoever looks at a program from outside (frontends/doctor) has none, and asks otherwise.
#pragma once

#include "ckpt/state/files/program_files.hpp"
#include "ckpt/state/files/sockets.hpp"

namespace ckpt::state {

class own_copies {
 public:
  using entry = seen_descriptor;

  explicit own_copies(program_files& files) : files_(files) {}

  /// The path of a terminal may be closed to this user, after su for instance.
  // Context: helper, all threads frozen
  [[nodiscard]] bool is_terminal(const entry& e) const {
    sys::abi::stat own{};
    u8 termios[64];
    constexpr unsigned long tcgets = 0x5401;
    return sys::fstat(e.fd, own).ok() && own.st_dev == e.st_dev && own.st_ino == e.st_ino &&
           sys::ioctl(e.fd, tcgets, &termios[0]).ok();
  }

  /// The magic number of its file system, 0 when nobody tells.
  // Context: helper, all threads frozen
  [[nodiscard]] i64 file_system(const entry& e) const {
    return sys::fstatfs_type(e.fd).value_or(0);
  }

  /// Whether one end of a pipe is alone: no other is open anywhere.
  // Context: helper, all threads frozen
  [[nodiscard]] bool is_alone(const entry& e, bool reads) const {
    const sys::unique_fd fd(files_.borrow(e.fd).value_or(-1));
    if (!fd) return false;
    sys::abi::pollfd p{fd.get(), 0, 0};
    const i16 alone = reads ? sys::abi::poll_hup : sys::abi::poll_err;
    return sys::poll(&p, 1, 0).ok() && (p.revents & alone) != 0;
  }

  // Context: helper, all threads frozen
  [[nodiscard]] bool is_unix_socket(const entry& e) const {
    const sys::unique_fd fd(files_.borrow(e.fd).value_or(-1));
    i32 family = -1;
    (void)sys::getsockopt(fd.get(), sys::abi::so_domain, family);
    return family == sys::abi::af_unix;
  }

  /// visit(unix_socket) for each that there is.
  // Context: helper, all threads frozen
  template <class Visitor>
  result<void> each_unix_socket(mutable_bytes room, Visitor&& visit) const {
    return for_each_unix_socket(room, visit);
  }

  /// What a path leads to.
  // Context: helper, all threads frozen
  result<void> stat_named(const char* path, sys::abi::stat& st) const {
    return sys::newfstatat(sys::abi::at_fdcwd, path, st, 0);
  }

 private:
  program_files& files_;
};

}  // namespace ckpt::state
