// SPDX-License-Identifier: MIT
//
// Where the bytes of an image come from: a file, or memory in tests. Always read, never mapped: a
// file that shrinks while it is looked at must end in a line and not in SIGBUS, and an image may
// be larger than the memory of the machine that looks at it.
#pragma once

#include <string>
#include <vector>

#include "ckpt/base/types.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::tools {

class byte_source {
 public:
  byte_source() = default;
  byte_source(const byte_source&) = delete;
  byte_source& operator=(const byte_source&) = delete;
  virtual ~byte_source() = default;

  /// As it was when the source was opened.
  [[nodiscard]] virtual u64 size() const = 0;

  /// Fewer bytes than asked only where the source ends.
  [[nodiscard]] virtual result<u64> read(u64 offset, mutable_bytes to) const = 0;
};

class file_source final : public byte_source {
 public:
  /// "-" is standard input, which may be a pipe. Throws image_error for what is not a readable
  /// regular file otherwise.
  explicit file_source(const std::string& path);

  [[nodiscard]] u64 size() const override { return size_; }
  [[nodiscard]] result<u64> read(u64 offset, mutable_bytes to) const override;

 private:
  sys::unique_fd fd_;
  u64 size_ = 0;
};

class memory_source final : public byte_source {
 public:
  explicit memory_source(std::vector<std::byte> content) : content_(std::move(content)) {}

  [[nodiscard]] u64 size() const override { return content_.size(); }
  [[nodiscard]] result<u64> read(u64 offset, mutable_bytes to) const override;

 private:
  std::vector<std::byte> content_;
};

}  // namespace ckpt::tools
