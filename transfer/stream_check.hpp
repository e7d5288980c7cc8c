// SPDX-License-Identifier: MIT
//
// Whether a stream is a whole ckpt image, told while it passes. It keeps no part of it: the checksums
// of the data are not compared one by one with the table behind it, both are hashed as they come, and
// the two hashes must be the one that the trailer has.
#pragma once

#include <string>

#include "ckpt/format/header.hpp"
#include "ckpt/image/metadata_view.hpp"

namespace ckpt::transfer {

class stream_check {
 public:
  stream_check();

  /// False when what has passed cannot be the beginning of an image; why() has the reason.
  bool add(bytes piece);
  /// Nothing follows. False when the image is not whole.
  bool finish();

  /// Whether what has passed so far begins like an image, or may still do so.
  [[nodiscard]] bool looks_like_image() const { return !foreign_; }
  [[nodiscard]] const std::string& why() const { return why_; }
  /// Bytes of the whole, 0 until it is known.
  [[nodiscard]] u64 size() const { return header_known_ ? header_.image_size.get() : 0; }
  [[nodiscard]] u64 seen() const { return position_; }
  /// Whether all before the data has passed and is good.
  [[nodiscard]] bool has_metadata() const { return header_known_ && !failed_ && position_ >= header_.data_offset; }

 private:
  bool refuse(std::string why);
  bool take_header();
  void take_head(bytes piece, u64 at);
  void take_data(bytes piece);
  void close_block();

  format::file_header header_{};
  format::trailer trailer_{};
  u64 position_ = 0;
  bool header_known_ = false;
  bool foreign_ = false;
  bool failed_ = false;
  std::string why_;
  u64 in_block_ = 0;
  XXH3_state_t restarter_;
  XXH3_state_t metadata_;
  XXH3_state_t block_;
  XXH3_state_t computed_;  // of the checksums of the data as it came
  XXH3_state_t table_;     // of the checksums that the image has
};

}  // namespace ckpt::transfer
