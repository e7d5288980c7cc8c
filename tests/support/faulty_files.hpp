// SPDX-License-Identifier: MIT
//
// A kernel for tests: one file in memory, and every way in which read(2) and write(2) may do less
// than they were asked.
#pragma once

#include <cstddef>
#include <cstring>
#include <string>

#include "ckpt/sys/file.hpp"

namespace ckpt::test {

class faulty_files {
 public:
  faulty_files() = default;
  explicit faulty_files(std::string content) : content_(std::move(content)) {}

  // What goes wrong; zero or none: nothing.
  u64 at_most = 0;               // bytes moved by one call
  unsigned interrupt_every = 0;  // every nth call is EINTR
  u64 fail_at = ~u64{0};         // no byte from this one on ...
  errc failure = errc::none;     // ... with this error, or as end of file
  [[nodiscard]] unsigned calls() const { return calls_; }
  [[nodiscard]] u64 largest_request() const { return largest_request_; }
  [[nodiscard]] const std::string& content() const { return content_; }

  result<u64> read(int, void* to, u64 n) {
    const result<u64> got = pread(0, to, n, position_);
    if (got.ok()) position_ += *got;
    return got;
  }
  result<u64> write(int, const void* from, u64 n) {
    const result<u64> put = pwrite(0, from, n, position_);
    if (put.ok()) position_ += *put;
    return put;
  }
  result<u64> pread(int, void* to, u64 n, u64 at) {
    const result<u64> room = moved(n, at);
    if (!room.ok()) return room;
    const u64 left = at < content_.size() ? content_.size() - at : 0;
    const u64 got = *room < left ? *room : left;
    std::memcpy(to, content_.data() + (got > 0 ? at : 0), got);
    return got;
  }
  result<u64> pwrite(int, const void* from, u64 n, u64 at) {
    const result<u64> room = moved(n, at);
    if (!room.ok()) return room;
    if (content_.size() < at + *room) content_.resize(at + *room);
    std::memcpy(content_.data() + at, from, *room);
    return room;
  }

 private:
  result<u64> moved(u64 n, u64 at) {
    ++calls_;
    if (n > largest_request_) largest_request_ = n;
    if (interrupt_every != 0 && calls_ % interrupt_every == 0) return errc::interrupted;
    if (at_most != 0 && n > at_most) n = at_most;
    if (at >= fail_at) {
      if (failure != errc::none) return failure;
      return u64{0};
    }
    return n < fail_at - at ? n : fail_at - at;
  }

  std::string content_;
  u64 position_ = 0;
  u64 largest_request_ = 0;
  unsigned calls_ = 0;
};
static_assert(sys::file_kernel<faulty_files>);

}  // namespace ckpt::test
