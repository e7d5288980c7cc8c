// SPDX-License-Identifier: MIT
//
// The image as a stream, read once from its first byte to its last: a file or a pipe alike. The
// data is hashed block by block as it is read into place; the checksums to compare it with come
// behind it, and nothing is trusted before they have been compared.
#pragma once

#include "ckpt/image/block_hasher.hpp"
#include "ckpt/image/metadata_view.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::restart {

class image_stream {
 public:
  image_stream() = default;
  explicit image_stream(int fd) : fd_(fd) {}

  [[nodiscard]] int fd() const { return fd_; }
  [[nodiscard]] u64 position() const { return position_; }

  result<void> read(mutable_bytes to) {
    const u64 got = CKPT_TRY(sys::read_up_to(kernel_, fd_, to));
    position_ += got;
    if (got != to.size()) return errc::end_of_input;
    return {};
  }

  /// Reads into several places at once; `pieces` is used up.
  result<void> read_gathered(sys::abi::iovec* pieces, int count) {
    while (count > 0) {
      const auto got = sys::checked<u64>(sys::invoke(__NR_readv, fd_, pieces, count));
      if (!got.ok()) {
        if (got.error() == errc::interrupted) continue;
        return got.error();
      }
      if (*got == 0) return errc::end_of_input;
      position_ += *got;
      u64 n = *got;
      while (count > 0 && n >= pieces->length) {
        n -= pieces->length;
        ++pieces;
        --count;
      }
      if (n > 0) {
        pieces->base += n;
        pieces->length -= n;
      }
    }
    return {};
  }

  /// Reads padding.
  result<void> expect_zeros_to(u64 offset) {
    u8 padding[512];
    while (position_ < offset) {
      const u64 n = offset - position_ < sizeof padding ? offset - position_ : sizeof padding;
      CKPT_TRY(read(std::as_writable_bytes(std::span(padding, n))));
      for (u64 i = 0; i < n; ++i)
        if (padding[i] != 0) return errc::malformed;
    }
    return {};
  }

  /// Nothing follows.
  [[nodiscard]] bool at_end() {
    std::byte one;
    const auto got = sys::read_up_to(kernel_, fd_, mutable_bytes(&one, 1));
    return got.ok() && *got == 0;
  }

 private:
  [[no_unique_address]] sys::linux_files kernel_;
  int fd_ = 0;
  u64 position_ = 0;
};

}  // namespace ckpt::restart
