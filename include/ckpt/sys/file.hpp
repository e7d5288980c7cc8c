// SPDX-License-Identifier: MIT
//
// Whole reads and writes over a kernel that may give less than was asked. The kernel is a template
// parameter so that a test can be the kernel: EINTR, short counts, ENOSPC at the nth byte.
#pragma once

#include <concepts>

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::sys {

/// What whoever reads or writes an image needs from the kernel.
template <class K>
concept file_kernel = requires(K& k, int fd, void* to, const void* from, u64 n) {
  { k.read(fd, to, n) } -> std::same_as<result<u64>>;
  { k.write(fd, from, n) } -> std::same_as<result<u64>>;
  { k.pread(fd, to, n, n) } -> std::same_as<result<u64>>;
  { k.pwrite(fd, from, n, n) } -> std::same_as<result<u64>>;
};

struct linux_files {
  static result<u64> read(int fd, void* to, u64 n) { return sys::read(fd, to, n); }
  static result<u64> write(int fd, const void* from, u64 n) { return sys::write(fd, from, n); }
  static result<u64> pread(int fd, void* to, u64 n, u64 at) { return sys::pread(fd, to, n, at); }
  static result<u64> pwrite(int fd, const void* from, u64 n, u64 at) {
    return sys::pwrite(fd, from, n, at);
  }
};
static_assert(file_kernel<linux_files>);

/// One write of a whole gigabyte is slow and bimodal on ext4; chunks of this size are not.
inline constexpr u64 io_chunk = u64{1} << 20;

namespace detail {
// step(done) moves some bytes; 0 means no more will come.
template <class Step>
result<u64> until(u64 wanted, Step step) {
  u64 done = 0;
  while (done < wanted) {
    const result<u64> moved = step(done);
    if (!moved.ok()) {
      if (moved.error() == errc::interrupted) continue;
      return moved.error();
    }
    if (*moved == 0) break;
    done += *moved;
  }
  return done;
}
inline u64 chunk_of(u64 left) { return left < io_chunk ? left : io_chunk; }
}  // namespace detail

/// Fewer bytes than asked only at the end of the file.
template <file_kernel K>
result<u64> read_up_to(K& k, int fd, mutable_bytes to) {
  return detail::until(to.size(), [&](u64 done) {
    return k.read(fd, to.data() + done, detail::chunk_of(to.size() - done));
  });
}

template <file_kernel K>
result<u64> pread_up_to(K& k, int fd, mutable_bytes to, u64 offset) {
  return detail::until(to.size(), [&](u64 done) {
    return k.pread(fd, to.data() + done, detail::chunk_of(to.size() - done), offset + done);
  });
}

template <file_kernel K>
result<void> write_all(K& k, int fd, bytes from) {
  const u64 done = CKPT_TRY(detail::until(from.size(), [&](u64 at) {
    return k.write(fd, from.data() + at, detail::chunk_of(from.size() - at));
  }));
  if (done != from.size()) return errc::io;
  return {};
}

template <file_kernel K>
result<void> pwrite_all(K& k, int fd, bytes from, u64 offset) {
  const u64 done = CKPT_TRY(detail::until(from.size(), [&](u64 at) {
    return k.pwrite(fd, from.data() + at, detail::chunk_of(from.size() - at), offset + at);
  }));
  if (done != from.size()) return errc::io;
  return {};
}

/// Closes at the end of the scope. Context: any, no libc.
class unique_fd {
 public:
  unique_fd() = default;
  explicit unique_fd(int fd) : fd_(fd) {}
  unique_fd(unique_fd&& other) noexcept : fd_(other.release()) {}
  unique_fd& operator=(unique_fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = other.release();
    }
    return *this;
  }
  unique_fd(const unique_fd&) = delete;
  unique_fd& operator=(const unique_fd&) = delete;
  ~unique_fd() { reset(); }

  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset() {
    if (fd_ >= 0) (void)close(release());
  }

 private:
  int fd_ = -1;
};

}  // namespace ckpt::sys
