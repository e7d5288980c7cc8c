// SPDX-License-Identifier: MIT
//
// The envelope of every record in the metadata: a type, the size of its fixed structure, the size
// of the whole. After the fixed structure may follow a tail of bytes (a path, an array); the next
// record begins at the next multiple of 8.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/wire/layout.hpp"

namespace ckpt::format {

enum class record_type : u16 {
  host = 1,
  process = 2,
  text = 3,
  memory_layout = 4,
  cpu = 5,
  segment = 6,
  extents = 7,
  thread = 8,
  extended_state = 9,
  signal_action = 10,
  pending_signal = 11,
  interval_timer = 12,
  resource_limit = 13,
  open_file = 14,
  descriptor = 15,
  file_lock = 16,
  pipe_content = 17,
  process_settings = 18,
  thread_settings = 19,
  posix_timer = 20,
  trap_range = 21,
  credentials = 22,
  event_counter = 24,
  timer_file = 25,
  signal_file = 26,
  epoll = 27,
  socket_end = 28,
  shared_object = 30,
};
constexpr bool legal(record_type) { return true; }  // an unknown type is skipped or refused by flag

/// `critical`: a reader that does not know the type must refuse the image.
enum class record_flag : u16 { critical = 1 };
constexpr u16 all_of(record_flag) { return 1; }

struct record_header {
  wire::le<record_type> type;
  wire::flags<record_flag> flags;
  wire::le<u32> fixed_size;
  wire::le<u64> size;
};

inline constexpr u64 record_alignment = 8;

}  // namespace ckpt::format

BOOST_HANA_ADAPT_STRUCT(ckpt::format::record_header, type, flags, fixed_size, size);

namespace ckpt::wire {
template <>
inline constexpr auto describe<format::record_header> = description<4>{
    "record_header",
    "Before each record; the next one follows at the next multiple of 8 bytes.",
    {"record_type", "critical: a reader that does not know the type refuses the image",
     "bytes of the fixed structure; a longer one than known comes from a later minor version, a "
     "shorter one from an earlier: missing fields are zero",
     "bytes of the fixed structure and the tail, without this header and the padding"}};
}  // namespace ckpt::wire

namespace ckpt::format {

static_assert(wire::laid_out_in<record_header, 16>());

/// One record as it lies in the metadata.
struct record_view {
  record_type type;
  bool critical;
  bytes fixed;
  bytes tail;
};

/// Walks the metadata. Bounds are checked before anything is looked at.
class record_cursor {
 public:
  explicit record_cursor(bytes metadata) : rest_(metadata) {}

  [[nodiscard]] bool done() const { return rest_.empty(); }
  [[nodiscard]] u64 left() const { return rest_.size(); }

  result<record_view> next() {
    if (rest_.size() < sizeof(record_header)) return errc::end_of_input;
    const auto head = CKPT_TRY(wire::decode<record_header>(rest_.first(sizeof(record_header))));
    const u64 room = rest_.size() - sizeof(record_header);
    const u64 size = head.size;
    if (size > room || head.fixed_size > size) return errc::end_of_input;
    const bytes body = rest_.subspan(sizeof(record_header), size);
    const u64 padded = align_up(size, record_alignment);
    if (padded > room) return errc::end_of_input;
    for (std::byte b : rest_.subspan(sizeof(record_header) + size, padded - size))
      if (b != std::byte{0}) return errc::malformed;
    rest_ = rest_.subspan(sizeof(record_header) + padded);
    return record_view{head.type.get(), head.flags.has(record_flag::critical),
                       body.first(head.fixed_size), body.subspan(head.fixed_size)};
  }

 private:
  bytes rest_;
};

}  // namespace ckpt::format
