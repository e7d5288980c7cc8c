// SPDX-License-Identifier: MIT
//
// Builds the metadata: records one after the other in one growing piece of memory. Where the
// memory comes from is the caller's: the agent maps pages, a test uses a vector.
#pragma once

#include <cstddef>
#include <cstring>

#include "ckpt/format/record.hpp"

namespace ckpt::format {

/// Makes at least `n` bytes available, keeping what is there, and says where they are now.
struct growing_memory {
  result<mutable_bytes> (*grow)(void* self, u64 n);
  void* self;
};

/// A record structure names its own type: `static constexpr record_type record`.
class metadata_builder {
 public:
  explicit constexpr metadata_builder(growing_memory memory) : source_(memory) {}

  /// Context: any, no libc.
  template <class Record>
  result<void> add(const Record& record, bytes tail = {}) {
    CKPT_TRY(begin(record));
    CKPT_TRY(append(tail));
    return end();
  }

  /// A record whose tail arrives in pieces: begin, append…, end.
  template <class Record>
  result<void> begin(const Record& record) {
    static_assert(alignof(Record) == 1, "records are made of wire fields");
    open_ = size_;
    record_header head{};
    head.type = Record::record;
    head.flags.set(record_flag::critical);
    head.fixed_size = static_cast<u32>(sizeof(Record));
    CKPT_TRY(append(bytes_of(head)));
    return append(bytes_of(record));
  }
  result<void> append(bytes piece) {
    if (piece.empty()) return {};
    if (size_ + piece.size() > memory_.size())
      memory_ = CKPT_TRY(source_.grow(source_.self, size_ + piece.size()));
    std::memcpy(memory_.data() + size_, piece.data(), piece.size());
    size_ += piece.size();
    return {};
  }
  /// Replaces the structure of the open record, whose last fields were not known at begin().
  template <class Record>
  void amend(const Record& record) {
    std::memcpy(memory_.data() + open_ + sizeof(record_header), &record, sizeof record);
  }
  result<void> end() {
    const wire::le<u64> size = size_ - open_ - sizeof(record_header);
    std::memcpy(memory_.data() + open_ + offsetof(record_header, size), &size, sizeof size);
    constexpr u8 zeros[record_alignment] = {};
    return append(bytes_of(zeros).first(align_up(size_, record_alignment) - size_));
  }

  [[nodiscard]] u64 size() const { return size_; }
  [[nodiscard]] bytes view() const { return bytes(memory_).first(size_); }

 private:
  growing_memory source_;
  mutable_bytes memory_;
  u64 size_ = 0;
  u64 open_ = 0;
};

}  // namespace ckpt::format
