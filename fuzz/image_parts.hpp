// SPDX-License-Identifier: MIT
//
// An image taken apart into what the fuzzer moves about, and put together again with every offset, size and
// checksum of the structure right: behind a checksum a fuzzer sees nothing.
#pragma once

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "../tests/support/image_repair.hpp"
#include "ckpt/image/all_records.hpp"

namespace ckpt::fuzz {

struct record_part {
  format::record_header head;
  std::vector<std::byte> body;  // the fixed structure and the tail

  /// After a change of the body's length.
  void settle() {
    head.size = body.size();
    if (head.fixed_size > body.size()) head.fixed_size = static_cast<u32>(body.size());
  }
};

struct image_parts {
  format::file_header header;
  std::vector<std::byte> restarter;  // everything before the records
  std::vector<record_part> records;
  u64 data_size;                     // nobody looks at the data here
  bool ends_in_padding = false;      // the metadata end where the last record's body does

  /// Records that cannot be followed, and what is behind them, are left out.
  static std::optional<image_parts> of(bytes image) {
    if (image.size() < format::header_offset + sizeof(format::file_header)) return std::nullopt;
    image_parts parts{test::header_of(image), {}, {}, 0, false};
    const auto& h = parts.header;
    const auto metadata = test::piece(image, h.metadata_offset, h.metadata_size);
    if (!metadata || h.metadata_offset < format::header_offset + sizeof h) return std::nullopt;
    const auto head = image.first(h.metadata_offset);
    parts.restarter.assign(head.begin(), head.end());
    parts.data_size = test::piece(image, h.data_offset, h.data_size) ? h.data_size.get() : 0;
    for (const u64 at : test::record_offsets(image)) {
      record_part record{test::load<format::record_header>(image, at), {}};
      const auto body = image.subspan(at + sizeof record.head, record.head.size);
      record.body.assign(body.begin(), body.end());
      parts.records.push_back(std::move(record));
    }
    return parts;
  }

  /// The bytes it takes; 0 when there is no room for them, and nothing is written.
  [[nodiscard]] std::size_t put(std::span<std::byte> room) const {
    u64 metadata_size = 0;
    for (const auto& record : records)
      metadata_size += sizeof record.head + align_up(record.body.size(), format::record_alignment);
    if (ends_in_padding && !records.empty())
      metadata_size -= align_up(records.back().body.size(), format::record_alignment) - records.back().body.size();
    format::file_header h = header;
    const u64 block = h.block_size == 0 ? format::default_block_size : h.block_size.get();
    if (data_size > room.size() || metadata_size > room.size()) return 0;
    const auto sizes = format::header_for(restarter.size(), metadata_size, data_size, block);
    if (sizes.image_size > room.size()) return 0;
    h.metadata_offset = sizes.metadata_offset;
    h.metadata_size = sizes.metadata_size;
    h.data_offset = sizes.data_offset;
    h.data_size = sizes.data_size;
    h.table_offset = sizes.table_offset;
    h.table_size = sizes.table_size;
    h.image_size = sizes.image_size;
    const auto image = room.first(sizes.image_size);
    std::memset(image.data(), 0, image.size());
    std::memcpy(image.data(), restarter.data(), restarter.size());
    test::store(image, format::header_offset, h);
    u64 at = h.metadata_offset;
    for (const auto& record : records) {
      test::store(image, at, record.head);
      at += sizeof record.head;
      if (!record.body.empty()) std::memcpy(image.data() + at, record.body.data(), record.body.size());
      at += align_up(record.body.size(), format::record_alignment);
    }
    format::trailer t{};
    t.signature = format::trailer_magic;
    t.id = h.id;
    t.image_size = h.image_size;
    test::store(image, h.table_offset + h.table_size, t);
    test::repair_structure(image);
    return image.size();
  }

  [[nodiscard]] std::vector<std::size_t> of_type(format::record_type type) const {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < records.size(); ++i)
      if (records[i].head.type == type) found.push_back(i);
    return found;
  }

  /// The numbers that follow from others: how many threads there are, and where in the data each extent
  /// lies.
  void settle_threads() {
    const u64 threads = of_type(format::record_type::thread).size();
    for (auto& record : records)
      if (record.head.type == format::record_type::process) {
        auto p = test::load<state::process>(record.body, 0);
        p.thread_count = static_cast<u32>(threads);
        test::store(std::span(record.body), 0, p);
      }
  }
  void settle_extents() {
    u64 sum = 0;
    for (const std::size_t i : of_type(format::record_type::extents)) {
      auto& body = records[i].body;
      for (u64 at = records[i].head.fixed_size; at + sizeof(state::extent) <= body.size();
           at += sizeof(state::extent)) {
        auto e = test::load<state::extent>(body, at);
        e.data = sum;
        sum += e.length;
        test::store(std::span(body), at, e);
      }
    }
    data_size = sum;
  }
};

}  // namespace ckpt::fuzz
