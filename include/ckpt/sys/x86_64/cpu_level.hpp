// SPDX-License-Identifier: MIT
//
// The levels that distributions and compilers sort processors by: what a program may use that was
// told to use no more, so that its image runs on every processor of the level.
// Source: System V ABI, AMD64 supplement, 3.1.1 (micro-architecture levels).
#pragma once

#include "ckpt/sys/x86_64/cpu.hpp"

namespace ckpt::sys::arch {

struct cpu_level {
  u64 extensions;  // bits of `extensions`
  u64 components;  // of XCR0
};

namespace cpu_level_detail {
consteval u64 bits_of(auto... names) {
  u64 bits = 0;
  for (const std::string_view name : {std::string_view(names)...}) {
    bool known = false;
    for (u32 i = 0; i < extension_count; ++i)
      if (extensions[i].name == name) bits |= u64{1} << i, known = true;
    if (!known) __builtin_abort();  // which is no constant
  }
  return bits;
}
inline constexpr u64 second = bits_of("cx16", "lahf_lm", "popcnt", "sse3", "sse4_1", "sse4_2", "ssse3");
inline constexpr u64 third =
    second | bits_of("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave");
inline constexpr u64 fourth =
    third | bits_of("avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl");
}  // namespace cpu_level_detail

/// Of level 2, 3 or 4.
[[nodiscard]] constexpr cpu_level level(u32 number) {
  using namespace cpu_level_detail;
  if (number == 2) return {second, 0x3};
  if (number == 3) return {third, 0x7};
  return {fourth, 0xe7};
}

/// "x86-64-v3" or "v3"; 0 for what is no level.
[[nodiscard]] constexpr u32 parse_level(std::string_view text) {
  if (text.starts_with("x86-64-")) text.remove_prefix(7);
  if (text.size() != 2 || text[0] != 'v' || text[1] < '2' || text[1] > '4') return 0;
  return static_cast<u32>(text[1] - '0');
}

}  // namespace ckpt::sys::arch
