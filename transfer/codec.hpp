// SPDX-License-Identifier: MIT
//
// Compression on the way: lz4 and zstd frames, as their commands write them. What either needs of
// memory has a bound, whatever a stream asks for.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "ckpt/base/types.hpp"

namespace ckpt::transfer {

enum class encoding : u8 { identity, lz4, zstd };

[[nodiscard]] std::string_view name_of(encoding e);
/// False for what is no encoding that we know.
bool parse_encoding(std::string_view text, encoding& e);

/// lz4, lz4:9, zstd, zstd:3.
struct compression {
  encoding how = encoding::identity;
  int level = 0;  // 0: the library's default
};
bool parse_compression(std::string_view text, compression& c);

using sink = std::function<bool(bytes)>;  // false stops the coder

class coder {
 public:
  virtual ~coder() = default;
  /// False when the library fails, or the sink wanted no more.
  virtual bool add(bytes piece, const sink& out) = 0;
  /// Nothing follows.
  virtual bool finish(const sink& out) = 0;
  [[nodiscard]] const std::string& why() const { return why_; }

 protected:
  std::string why_;
};

class decoder {
 public:
  virtual ~decoder() = default;
  /// Takes from `in` and fills `room` as far as either goes; `made` bytes. False when the stream is
  /// damaged. With nothing in `in` and nothing made, it waits for more.
  virtual bool step(bytes& in, mutable_bytes room, std::size_t& made) = 0;
  /// Whether the stream may end here.
  [[nodiscard]] virtual bool whole() const = 0;
  [[nodiscard]] const std::string& why() const { return why_; }
  /// A piece through `room` into the sink. False when the stream is damaged, or the sink wanted no
  /// more.
  bool add(bytes piece, mutable_bytes room, const sink& out);

 protected:
  std::string why_;
};

/// Throws std::bad_alloc.
std::unique_ptr<coder> make_encoder(compression c, unsigned threads);
std::unique_ptr<decoder> make_decoder(encoding e);

}  // namespace ckpt::transfer
