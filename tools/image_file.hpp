// SPDX-License-Identifier: MIT
//
// An image on disk, read by a program that has a libc. The constructor validates everything but
// the data, by the same rules as the restarter; the data is verified block by block as it is read.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "byte_source.hpp"
#include "ckpt/image/all_records.hpp"
#include "ckpt/format/header.hpp"
#include "ckpt/image/metadata_view.hpp"

namespace ckpt::tools {

/// A record with what follows it. The tail points into the image_file's metadata.
template <class Record>
struct found {
  Record fields;
  bytes tail;
};

class image_file {
 public:
  /// Throws image_error with the reason why it is not a whole image.
  explicit image_file(std::unique_ptr<byte_source> source);
  explicit image_file(const std::string& path);

  [[nodiscard]] const format::file_header& header() const { return header_; }
  [[nodiscard]] const format::trailer& trailer() const { return trailer_; }
  [[nodiscard]] bytes metadata() const { return metadata_; }

  /// All records of a type, in the order of the image.
  template <class Record>
  [[nodiscard]] std::vector<found<Record>> all() const {
    std::vector<found<Record>> records;
    image::for_each<Record>(metadata(), [&](const Record& r, bytes tail) {
      records.push_back({r, tail});
    });
    return records;
  }
  /// The one record of a type that an image has exactly once.
  template <class Record>
  [[nodiscard]] found<Record> one() const {
    return all<Record>().at(0);
  }
  /// Empty when the image has none of that kind.
  [[nodiscard]] std::string_view text(state::text_kind kind) const {
    return text_of_bytes(image::text(metadata(), kind));
  }
  /// The words of a text of NUL-terminated words.
  [[nodiscard]] std::vector<std::string> words(state::text_kind kind) const;

  [[nodiscard]] u64 block_count() const { return header_.table_size / sizeof(u64); }
  /// The data offsets the block's checksum covers.
  [[nodiscard]] range block(u64 index) const;
  /// Whether the block is as it was written. Its bytes stay for read_data().
  [[nodiscard]] bool verify_block(u64 index);
  /// Whether what fills the page behind the metadata is as it must be.
  [[nodiscard]] bool padding_is_zero() const;
  /// Bytes of the data, which the caller knows to lie within it. Throws image_error when a block
  /// it touches is damaged.
  void read_data(u64 offset, mutable_bytes to);

 private:
  void read_exactly(u64 offset, mutable_bytes to) const;
  // The checksum of one or two pieces of the file as if they were one.
  [[nodiscard]] u64 checksum_of(std::initializer_list<range> pieces) const;

  static constexpr u64 no_block = ~u64{0};

  std::unique_ptr<byte_source> source_;
  format::file_header header_{};
  format::trailer trailer_{};
  std::vector<std::byte> metadata_;
  std::vector<std::byte> block_bytes_;
  u64 block_index_ = no_block;
};

}  // namespace ckpt::tools
