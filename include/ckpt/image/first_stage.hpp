// SPDX-License-Identifier: MIT
//
// What the restarter's first instructions (restart/first_stage.S) compare before they trust the rest
// of it: a sum that they can make in a few bytes of code. It lies in the restarter and is no part of
// the format, which covers the same bytes by file_header.restarter_checksum.
#pragma once

#include <cstring>

#include "ckpt/format/header.hpp"

namespace ckpt::image {

inline constexpr u64 stage_sum_offset = format::header_offset - sizeof(u64);
/// The room that the restarter leaves for the header ends here; the sum goes on behind it.
inline constexpr u64 stage_sum_resumes = format::header_offset + 256;

/// Of the restarter's bytes as they lie in the file and in memory, up to the end of its data: whole
/// pages. Each step is a bijection, so a change within eight bytes is never missed.
/// Context: any, no libc
[[nodiscard]] inline u64 stage_sum(bytes restarter) {
  constexpr u64 odd = 0x9e3779b97f4a7c15;
  u64 sum = odd;
  const auto fold = [&](u64 from, u64 to) {
    for (u64 at = from; at + sizeof(u64) <= to; at += sizeof(u64)) {
      u64 word = 0;
      std::memcpy(&word, restarter.data() + at, sizeof word);
      sum = (sum ^ word) * odd;
      sum = sum >> 32 | sum << 32;
    }
  };
  fold(0, stage_sum_offset);
  fold(stage_sum_resumes, restarter.size());
  return sum;
}

/// Puts it where the first stage looks.
/// Context: any, no libc
inline void set_stage_sum(mutable_bytes restarter) {
  const wire::le<u64> sum = stage_sum(restarter);
  std::memcpy(restarter.data() + stage_sum_offset, &sum, sizeof sum);
}

}  // namespace ckpt::image
