// SPDX-License-Identifier: MIT
//
// Nothing here depends on the size of the image: what is checked is streamed, and one block of the
// data is held at a time.
#include "image_file.hpp"

#include <algorithm>
#include <array>

#include "ckpt/format/checksum.hpp"
#include "image_error.hpp"

namespace ckpt::tools {

namespace {

mutable_bytes as_bytes_of(auto& record) {
  return std::as_writable_bytes(std::span(&record, 1));
}

// validate_* leaves the reason in the report.
void demand(const result<void>& outcome, const report& why) {
  if (!outcome.ok()) throw image_error(std::string(why.line()));
}

}  // namespace

image_file::image_file(const std::string& path) : image_file(std::make_unique<file_source>(path)) {}

image_file::image_file(std::unique_ptr<byte_source> source) : source_(std::move(source)) {
  const auto got = source_->read(format::header_offset, as_bytes_of(header_));
  if (!got.ok()) throw image_error(text_of(got.error()));
  if (source_->size() == 0) throw image_error("not a ckpt image (it is empty)");
  if (*got < sizeof header_) {
    if (*got < sizeof header_.signature || header_.signature != format::image_magic)
      throw image_error("not a ckpt image");
    throw image_error("cut off: " + std::to_string(source_->size()) + " bytes");
  }
  report why;
  demand(image::validate_header(header_, source_->size(), why), why);

  const u64 restarter =
      checksum_of({{0, format::header_offset},
                   {format::header_offset + sizeof header_, header_.metadata_offset}});
  if (restarter != header_.restarter_checksum)
    throw image_error("the restarter is damaged (checksum mismatch)");

  // Before there is room for it: a size that damage has made is not worth the memory.
  if (checksum_of({{header_.metadata_offset, header_.metadata_offset + header_.metadata_size}}) !=
      header_.metadata_checksum)
    throw image_error("the metadata is damaged (checksum mismatch)");
  metadata_.resize(header_.metadata_size);
  read_exactly(header_.metadata_offset, metadata_);
  demand(image::validate_metadata(header_, metadata_, why), why);

  const u64 table_end = header_.table_offset + header_.table_size;
  read_exactly(table_end, as_bytes_of(trailer_));
  const u64 table = checksum_of({{header_.table_offset, table_end}});
  demand(image::validate_trailer(header_, trailer_, table, why), why);
}

std::vector<std::string> image_file::words(state::text_kind kind) const {
  std::vector<std::string> words;
  std::string_view rest = text(kind);
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\0'), rest.size());
    words.emplace_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return words;
}

range image_file::block(u64 index) const {
  const u64 begin = index * header_.block_size;
  return {begin, std::min<u64>(begin + header_.block_size, header_.data_size)};
}

bool image_file::padding_is_zero() const {
  const u64 from = header_.metadata_offset + header_.metadata_size;
  std::vector<std::byte> padding(header_.data_offset - from);
  read_exactly(from, padding);
  return std::ranges::all_of(padding, [](std::byte b) { return b == std::byte{0}; });
}

bool image_file::verify_block(u64 index) {
  if (index == block_index_) return true;
  const range where = block(index);
  block_index_ = no_block;
  block_bytes_.resize(where.length());
  read_exactly(header_.data_offset + where.begin, block_bytes_);
  wire::le<u64> expected;
  read_exactly(header_.table_offset + index * sizeof expected, as_bytes_of(expected));
  if (format::checksum(block_bytes_) != expected) return false;
  block_index_ = index;
  return true;
}

void image_file::read_data(u64 offset, mutable_bytes to) {
  while (!to.empty()) {
    const u64 index = offset / header_.block_size;
    if (!verify_block(index))
      throw image_error("block " + std::to_string(index) +
                        " of the data is damaged (checksum mismatch)");
    const u64 within = offset - block(index).begin;
    const u64 n = std::min<u64>(to.size(), block_bytes_.size() - within);
    std::copy_n(block_bytes_.begin() + static_cast<std::ptrdiff_t>(within), n, to.begin());
    to = to.subspan(n);
    offset += n;
  }
}

void image_file::read_exactly(u64 offset, mutable_bytes to) const {
  const auto got = source_->read(offset, to);
  if (!got.ok()) throw image_error(text_of(got.error()));
  if (*got != to.size()) throw image_error("cut off while it was being read");
}

u64 image_file::checksum_of(std::initializer_list<range> pieces) const {
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  std::array<std::byte, 64 * 1024> buffer;
  for (range left : pieces) {
    while (!left.empty()) {
      const auto piece = std::span(buffer).first(std::min<u64>(buffer.size(), left.length()));
      read_exactly(left.begin, piece);
      XXH3_64bits_update(&state, piece.data(), piece.size());
      left.begin += piece.size();
    }
  }
  return XXH3_64bits_digest(&state);
}

}  // namespace ckpt::tools
