// SPDX-License-Identifier: MIT
//
// Writes an image from its first byte to its last, never seeking: a file, a pipe, anything that
// takes bytes. Small pieces are gathered, large ones go out in chunks of at most io_chunk, each
// hashed just before it is written, while it is in the cache.
#pragma once

#include "ckpt/format/header.hpp"
#include "ckpt/image/block_hasher.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::image {

template <class K>
concept gather_kernel = sys::file_kernel<K> &&
    requires(K& k, int fd, const sys::abi::iovec* v, int n) {
      { k.writev(fd, v, n) } -> std::same_as<result<u64>>;
    };

struct linux_gather : sys::linux_files {
  static result<u64> writev(int fd, const sys::abi::iovec* pieces, int n) {
    return sys::checked<u64>(sys::invoke(__NR_writev, fd, pieces, n));
  }
};

/// Takes the pieces of the data in order; may look at them later, until settle() returns.
template <class H>
concept data_hasher = requires(H& h, bytes piece) {
  h.add(piece);
  h.settle();
  h.finish();
  { h.blocks() } -> std::same_as<u64>;
};

/// `hasher` fills `table`. `watch` is asked between chunks whether to go on:
/// result<void> operator()().
template <gather_kernel K, data_hasher Hasher, class Watch>
class writer {
 public:
  writer(K& kernel, int fd, Hasher& hasher, std::span<const wire::le<u64>> table, Watch watch)
      : kernel_(kernel), fd_(fd), hasher_(hasher), table_(table), watch_(watch) {}

  /// Bytes outside the data: restarter, header, metadata, padding.
  result<void> put(bytes piece) {
    CKPT_TRY(flush());
    CKPT_TRY(sys::write_all(kernel_, fd_, piece));
    position_ += piece.size();
    return {};
  }

  result<void> pad_to(u64 offset) {
    static constexpr u8 zeros[256] = {};
    while (position_ < offset) {
      const u64 n = offset - position_ < sizeof zeros ? offset - position_ : sizeof zeros;
      CKPT_TRY(put(bytes_of(zeros).first(n)));
    }
    return {};
  }

  /// Bytes of the data. They must stay as they are until the next settle().
  result<void> put_data(bytes piece) {
    while (!piece.empty()) {
      const u64 room = sys::io_chunk - gathered_bytes_;
      const u64 n = piece.size() < room ? piece.size() : room;
      pieces_[gathered_++] = {reinterpret_cast<u64>(piece.data()), n};
      gathered_bytes_ += n;
      piece = piece.subspan(n);
      if (gathered_ == max_pieces || gathered_bytes_ == sys::io_chunk) CKPT_TRY(flush());
    }
    return {};
  }

  /// After it, memory given to put_data() may change.
  result<void> settle() {
    CKPT_TRY(flush());
    hasher_.settle();
    return {};
  }

  result<void> flush() {
    if (gathered_ == 0) return {};
    CKPT_TRY(watch_());
    for (int i = 0; i < gathered_; ++i)
      hasher_.add({reinterpret_cast<const std::byte*>(pieces_[i].base), pieces_[i].length});
    sys::abi::iovec* next = pieces_;
    int left = gathered_;
    u64 bytes_left = gathered_bytes_;
    while (bytes_left > 0) {
      const auto written = kernel_.writev(fd_, next, left);
      if (!written.ok()) {
        if (written.error() == errc::interrupted) continue;
        return written.error();
      }
      if (*written == 0 || *written > bytes_left) return errc::io;
      bytes_left -= *written;
      u64 n = *written;
      while (left > 0 && n >= next->length) {
        n -= next->length;
        ++next;
        --left;
      }
      if (n > 0) {
        next->base += n;
        next->length -= n;
      }
    }
    position_ += gathered_bytes_;
    gathered_ = 0;
    gathered_bytes_ = 0;
    return {};
  }

  /// Checksums and trailer.
  result<void> finish(const format::file_header& header) {
    CKPT_TRY(flush());
    hasher_.finish();
    if (position_ != header.table_offset || hasher_.blocks() != table_.size()) return errc::io;
    CKPT_TRY(put(std::as_bytes(table_)));
    format::trailer t{};
    t.signature = format::trailer_magic;
    t.id = header.id;
    t.image_size = header.image_size;
    t.table_checksum = format::checksum(std::as_bytes(table_));
    t.trailer_checksum = format::own_checksum(t);
    return put(bytes_of(t));
  }

  [[nodiscard]] u64 position() const { return position_; }

 private:
  static constexpr int max_pieces = 256;
  K& kernel_;
  int fd_;
  Hasher& hasher_;
  std::span<const wire::le<u64>> table_;
  Watch watch_;
  u64 position_ = 0;
  u64 gathered_bytes_ = 0;
  int gathered_ = 0;
  sys::abi::iovec pieces_[max_pieces];
};

}  // namespace ckpt::image
