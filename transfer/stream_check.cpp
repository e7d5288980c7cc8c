// SPDX-License-Identifier: MIT
#include "stream_check.hpp"

#include <algorithm>
#include <cstring>

namespace ckpt::transfer {
namespace {

constexpr u64 header_end = format::header_offset + sizeof(format::file_header);
constexpr char elf_magic[] = {0x7f, 'E', 'L', 'F'};

}  // namespace

stream_check::stream_check() {
  for (auto* state : {&restarter_, &metadata_, &block_, &computed_, &table_})
    XXH3_64bits_reset(state);
}

bool stream_check::refuse(std::string why) {
  if (!failed_) why_ = std::move(why);
  failed_ = true;
  return false;
}

bool stream_check::take_header() {
  header_known_ = true;
  if (header_.signature != format::image_magic) {
    foreign_ = true;
    return refuse("not a ckpt image");
  }
  report why;
  // How long the stream is shows at its end.
  if (!image::validate_header(header_, header_.image_size, why).ok())
    return refuse(std::string(why.line()));
  return true;
}

void stream_check::take_head(bytes piece, u64 at) {
  if (at < sizeof elf_magic &&
      std::memcmp(piece.data(), elf_magic + at, std::min<u64>(piece.size(), sizeof elf_magic - at)) != 0) {
    foreign_ = true;
    (void)refuse("not a ckpt image");
  }
  XXH3_64bits_update(&restarter_, piece.data(), piece.size());
}

void stream_check::close_block() {
  const wire::le<u64> sum = XXH3_64bits_digest(&block_);
  XXH3_64bits_update(&computed_, &sum, sizeof sum);
  XXH3_64bits_reset(&block_);
  in_block_ = 0;
}

void stream_check::take_data(bytes piece) {
  while (!piece.empty()) {
    const u64 n = std::min<u64>(piece.size(), header_.block_size - in_block_);
    XXH3_64bits_update(&block_, piece.data(), n);
    in_block_ += n;
    piece = piece.subspan(n);
    if (in_block_ == header_.block_size) close_block();
  }
}

bool stream_check::add(bytes piece) {
  while (!piece.empty() && !failed_) {
    const u64 at = position_;
    // The part of the image that `at` lies in ends at `end`.
    u64 end = 0;
    const auto upto = [&](u64 limit) {
      end = limit;
      return at < limit;
    };
    const auto take = [&] {
      const auto part = piece.first(std::min<u64>(piece.size(), end - at));
      piece = piece.subspan(part.size());
      position_ += part.size();
      return part;
    };
    if (upto(format::header_offset)) {
      take_head(take(), at);
    } else if (upto(header_end)) {
      const auto part = take();
      std::memcpy(reinterpret_cast<std::byte*>(&header_) + (at - format::header_offset), part.data(),
                  part.size());
      if (position_ == header_end) (void)take_header();
    } else if (upto(header_.metadata_offset)) {
      const auto part = take();
      XXH3_64bits_update(&restarter_, part.data(), part.size());
      if (position_ == header_.metadata_offset &&
          XXH3_64bits_digest(&restarter_) != header_.restarter_checksum)
        (void)refuse("the restarter in the image is damaged (checksum mismatch)");
    } else if (upto(header_.metadata_offset + header_.metadata_size)) {
      const auto part = take();
      XXH3_64bits_update(&metadata_, part.data(), part.size());
      if (position_ == end && XXH3_64bits_digest(&metadata_) != header_.metadata_checksum)
        (void)refuse("the metadata is damaged (checksum mismatch)");
    } else if (upto(header_.data_offset)) {
      const auto part = take();
      if (std::any_of(part.begin(), part.end(), [](std::byte b) { return b != std::byte{0}; }))
        (void)refuse("the padding before the data is damaged");
    } else if (upto(header_.table_offset)) {
      take_data(take());
      if (position_ == end && in_block_ != 0) close_block();
    } else if (upto(header_.table_offset + header_.table_size)) {
      const auto part = take();
      XXH3_64bits_update(&table_, part.data(), part.size());
    } else if (upto(header_.image_size)) {
      const auto part = take();
      std::memcpy(reinterpret_cast<std::byte*>(&trailer_) + (at - (end - sizeof trailer_)),
                  part.data(), part.size());
    } else {
      return refuse("followed by bytes that do not belong to it");
    }
  }
  return !failed_;
}

bool stream_check::finish() {
  if (failed_) return false;
  if (!header_known_) return refuse("not a ckpt image (too short)");
  if (position_ != header_.image_size)
    return refuse("cut off: " + std::to_string(position_) + " of " +
                  std::to_string(header_.image_size.get()) + " bytes");
  report why;
  if (!image::validate_trailer(header_, trailer_, XXH3_64bits_digest(&table_), why).ok())
    return refuse(std::string(why.line()));
  if (XXH3_64bits_digest(&computed_) != XXH3_64bits_digest(&table_))
    return refuse("the data is damaged (checksum mismatch)");
  return true;
}

}  // namespace ckpt::transfer
