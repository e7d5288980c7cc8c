// SPDX-License-Identifier: MIT
//
// Checksums of a stream cut into blocks of equal size, whatever pieces the stream arrives in. The
// writer and every reader use the same one.
#pragma once

#include "ckpt/format/checksum.hpp"
#include "ckpt/wire/le.hpp"

namespace ckpt::image {

class block_hasher {
 public:
  /// `table` has room for one checksum for each block of the stream.
  block_hasher(u64 block_size, std::span<wire::le<u64>> table)
      : block_size_(block_size), table_(table) {
    XXH3_64bits_reset(&state_);
  }

  void add(bytes piece) {
    while (!piece.empty()) {
      if (filled_ == 0 && piece.size() >= block_size_) {
        store(format::checksum(piece.first(block_size_)));  // a whole block in one go is faster
        piece = piece.subspan(block_size_);
        continue;
      }
      const u64 n = piece.size() < block_size_ - filled_ ? piece.size() : block_size_ - filled_;
      XXH3_64bits_update(&state_, piece.data(), n);
      filled_ += n;
      piece = piece.subspan(n);
      if (filled_ == block_size_) finish();
    }
  }

  /// Nothing is ever left to look at: add() has done it.
  void settle() {}

  /// Closes a last block that is shorter than the others.
  void finish() {
    if (filled_ == 0) return;
    store(XXH3_64bits_digest(&state_));
    XXH3_64bits_reset(&state_);
    filled_ = 0;
  }

  [[nodiscard]] u64 blocks() const { return next_; }

 private:
  void store(u64 sum) {
    if (next_ >= table_.size()) __builtin_trap();
    table_[next_++] = sum;
  }

  u64 block_size_;
  std::span<wire::le<u64>> table_;
  u64 next_ = 0;
  u64 filled_ = 0;
  XXH3_state_t state_;
};

}  // namespace ckpt::image
