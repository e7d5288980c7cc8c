// SPDX-License-Identifier: MIT
//
// Verifies an image as a whole, from within a program: by the rules of the restarter, and every
// block of the data. It reads, and does not map: a file that is cut off meanwhile must be an answer
// and no fault.
#pragma once

#include "ckpt/image/agent_place.hpp"
#include "ckpt/state/cpu.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::agent {

class image_check {
 public:
  image_check(int fd, report& why) : fd_(fd), why_(why) {}
  ~image_check() {
    if (!room_.empty()) (void)sys::munmap(room_.begin, room_.length());
  }
  image_check(const image_check&) = delete;
  image_check& operator=(const image_check&) = delete;

  // Context: any, no libc
  result<void> run() {
    sys::abi::stat st{};
    if (auto r = sys::fstat(fd_, st); !r.ok()) return why_.explain(r.error(), "cannot look at it");
    if ((st.st_mode & sys::abi::s_ifmt) != sys::abi::s_ifreg)
      return why_.refuse("not a ckpt image (no file)");
    if (static_cast<u64>(st.st_size) < format::header_offset + sizeof header_)
      return why_.refuse("not a ckpt image (too short)");
    CKPT_TRY(read(format::header_offset, std::as_writable_bytes(std::span(&header_, 1))));
    CKPT_TRY(image::validate_header(header_, static_cast<u64>(st.st_size), why_));
    CKPT_TRY(get_room());
    CKPT_TRY(check_restarter());
    const mutable_bytes metadata(at(0), header_.metadata_size);
    CKPT_TRY(read(header_.metadata_offset, metadata));
    CKPT_TRY(image::validate_metadata(header_, metadata, why_));
    CKPT_TRY(state::check_cpu(image::first<state::cpu>(metadata), state::this_cpu(), why_));
    CKPT_TRY(image::check_agent(header_, metadata, why_));
    CKPT_TRY(check_padding());
    CKPT_TRY(check_table());
    return check_data();
  }

 private:
  [[nodiscard]] std::byte* at(u64 offset) const {
    return reinterpret_cast<std::byte*>(room_.begin + offset);
  }
  [[nodiscard]] u64 table_at() const { return page_up(header_.metadata_size); }
  [[nodiscard]] u64 block_at() const { return table_at() + page_up(header_.table_size); }

  result<void> get_room() {
    const u64 size = block_at() + header_.block_size;
    const auto got =
        sys::mmap(0, size, sys::abi::prot_read | sys::abi::prot_write,
                  sys::abi::map_private | sys::abi::map_anonymous | sys::abi::map_noreserve, -1, 0);
    if (!got.ok()) return why_.explain(got.error(), "no memory to verify it");
    room_ = {*got, *got + size};
    return {};
  }

  result<void> read(u64 offset, mutable_bytes to) {
    sys::linux_files kernel;
    const auto got = sys::pread_up_to(kernel, fd_, to, offset);
    if (!got.ok()) return why_.explain(got.error(), "cannot read it");
    if (*got != to.size()) return why_.refuse("cut off while it was read");
    return {};
  }

  result<void> check_restarter() {
    XXH3_state_t hash;
    XXH3_64bits_reset(&hash);
    const auto add = [&](u64 from, u64 to) -> result<void> {
      while (from < to) {
        const u64 n = to - from < header_.block_size ? to - from : header_.block_size.get();
        const mutable_bytes piece(at(block_at()), n);
        CKPT_TRY(read(from, piece));
        XXH3_64bits_update(&hash, piece.data(), n);
        from += n;
      }
      return {};
    };
    CKPT_TRY(add(0, format::header_offset));
    CKPT_TRY(add(format::header_offset + sizeof header_, header_.metadata_offset));
    if (XXH3_64bits_digest(&hash) != header_.restarter_checksum)
      return why_.refuse("the restarter in the image is damaged (checksum mismatch)");
    return {};
  }

  result<void> check_padding() {
    const u64 from = header_.metadata_offset + header_.metadata_size;
    const mutable_bytes padding(at(block_at()), header_.data_offset - from);
    CKPT_TRY(read(from, padding));
    for (std::byte b : padding)
      if (b != std::byte{0}) return why_.refuse("damaged between metadata and data");
    return {};
  }

  result<void> check_table() {
    const mutable_bytes table(at(table_at()), header_.table_size);
    CKPT_TRY(read(header_.table_offset, table));
    format::trailer trailer{};
    CKPT_TRY(read(header_.table_offset + header_.table_size,
                  std::as_writable_bytes(std::span(&trailer, 1))));
    return image::validate_trailer(header_, trailer, format::checksum(table), why_);
  }

  result<void> check_data() {
    const auto* table = reinterpret_cast<const wire::le<u64>*>(at(table_at()));
    for (u64 from = 0, i = 0; from < header_.data_size; from += header_.block_size, ++i) {
      const u64 left = header_.data_size - from;
      const mutable_bytes block(at(block_at()),
                                left < header_.block_size ? left : header_.block_size.get());
      CKPT_TRY(read(header_.data_offset + from, block));
      if (format::checksum(block) != table[i].get())
        return why_.refuse("the data is damaged (checksum mismatch in block ", i, ")");
    }
    return {};
  }

  int fd_;
  report& why_;
  format::file_header header_{};
  range room_;
};

}  // namespace ckpt::agent
