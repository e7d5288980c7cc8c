// SPDX-License-Identifier: MIT
//
// Changes a finished image and makes its checksums right again, so that a test or the fuzzer gets
// past them to the rule it wants to break.
#pragma once

#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "ckpt/format/header.hpp"
#include "ckpt/format/record.hpp"

namespace ckpt::test {

using image_bytes = std::vector<std::byte>;

template <class T>
[[nodiscard]] T load(std::span<const std::byte> image, u64 offset) {
  T value{};
  if (offset <= image.size() && sizeof value <= image.size() - offset)
    std::memcpy(&value, image.data() + offset, sizeof value);
  return value;
}
template <class T>
void store(std::span<std::byte> image, u64 offset, const T& value) {
  if (offset <= image.size() && sizeof value <= image.size() - offset)
    std::memcpy(image.data() + offset, &value, sizeof value);
}

[[nodiscard]] inline format::file_header header_of(std::span<const std::byte> image) {
  return load<format::file_header>(image, format::header_offset);
}

/// The piece of the image, if there is one.
[[nodiscard]] inline std::optional<bytes> piece(bytes image, u64 offset, u64 size) {
  if (offset > image.size() || size > image.size() - offset) return std::nullopt;
  return image.subspan(offset, size);
}

/// The checksums over the restarter and the blocks of the data, as far as they lie in the image.
inline void repair_contents(std::span<std::byte> image) {
  auto h = header_of(image);
  const u64 header_end = format::header_offset + sizeof h;
  if (h.metadata_offset >= header_end && h.metadata_offset <= image.size()) {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    XXH3_64bits_update(&state, image.data(), format::header_offset);
    XXH3_64bits_update(&state, image.data() + header_end, h.metadata_offset - header_end);
    h.restarter_checksum = XXH3_64bits_digest(&state);
    store(image, format::header_offset, h);
  }
  const auto data = piece(image, h.data_offset, h.data_size);
  if (!data || !piece(image, h.table_offset, h.table_size) || h.block_size == 0) return;
  for (u64 i = 0; i < h.table_size / sizeof(u64); ++i) {
    const u64 begin = i * h.block_size;
    if (begin >= data->size()) break;
    const u64 n = data->size() - begin < h.block_size ? data->size() - begin : h.block_size.get();
    store(image, h.table_offset + i * sizeof(u64),
          wire::le<u64>(format::checksum(data->subspan(begin, n))));
  }
}

/// The checksums over what describes the image: metadata, table, trailer, header.
inline void repair_structure(std::span<std::byte> image) {
  if (image.size() < format::header_offset + sizeof(format::file_header)) return;
  auto h = header_of(image);
  if (const auto metadata = piece(image, h.metadata_offset, h.metadata_size))
    h.metadata_checksum = format::checksum(*metadata);
  if (const auto table = piece(image, h.table_offset, h.table_size)) {
    const u64 end = h.table_offset + h.table_size;
    if (piece(image, end, sizeof(format::trailer))) {
      auto t = load<format::trailer>(image, end);
      t.table_checksum = format::checksum(*table);
      t.trailer_checksum = format::own_checksum(t);
      store(image, end, t);
    }
  }
  h.header_checksum = format::own_checksum(h);
  store(image, format::header_offset, h);
}

inline void repair(std::span<std::byte> image) {
  if (image.size() < format::header_offset + sizeof(format::file_header)) return;
  repair_contents(image);
  repair_structure(image);
}

/// Where the envelopes of the records are, as far as they can be followed.
[[nodiscard]] inline std::vector<u64> record_offsets(bytes image) {
  const auto h = header_of(image);
  const auto metadata = piece(image, h.metadata_offset, h.metadata_size);
  std::vector<u64> offsets;
  if (!metadata) return offsets;
  format::record_cursor cursor(*metadata);
  for (u64 at = h.metadata_offset; !cursor.done();) {
    const auto view = cursor.next();
    if (!view.ok()) break;
    offsets.push_back(at);
    at += sizeof(format::record_header) +
          align_up(view->fixed.size() + view->tail.size(), format::record_alignment);
  }
  return offsets;
}

/// The offset of the nth record of a type.
[[nodiscard]] inline std::optional<u64> find_record(bytes image, format::record_type type,
                                                    std::size_t n = 0) {
  for (u64 at : record_offsets(image))
    if (load<format::record_header>(image, at).type == type && n-- == 0) return at;
  return std::nullopt;
}

/// Changes the nth record of a type in place: change(Record&). The checksums are repaired.
template <class Record, class Change>
[[nodiscard]] bool edit(image_bytes& image, std::size_t n, Change change) {
  const auto at = find_record(image, Record::record, n);
  if (!at) return false;
  auto record = load<Record>(image, *at + sizeof(format::record_header));
  change(record);
  store(image, *at + sizeof(format::record_header), record);
  repair(image);
  return true;
}

template <class Change>
void edit_envelope(image_bytes& image, u64 offset, Change change) {
  auto head = load<format::record_header>(image, offset);
  change(head);
  store(image, offset, head);
  repair(image);
}

/// change(file_header&); every checksum but those the change is about stays right.
template <class Change>
void edit_header(image_bytes& image, Change change) {
  auto h = header_of(image);
  change(h);
  h.header_checksum = format::own_checksum(h);
  store(image, format::header_offset, h);
}

}  // namespace ckpt::test
