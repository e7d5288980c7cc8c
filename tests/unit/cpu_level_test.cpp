// SPDX-License-Identifier: MIT
//
// What each level of processors has, by the names that images use.
#include "ckpt/sys/x86_64/cpu_level.hpp"

#include <set>
#include <string>
#include <string_view>

#include "support/catch.hpp"

namespace ckpt::sys::arch {
namespace {

using names = std::set<std::string_view>;

names names_of(u64 bits) {
  names found;
  for (u32 i = 0; i < extension_count; ++i)
    if ((bits >> i & 1) != 0) found.insert(extensions[i].name);
  return found;
}

// As the supplement lists them, but for what every x86-64 has.
const names second{"cx16", "lahf_lm", "popcnt", "sse3", "sse4_1", "sse4_2", "ssse3"};
const names third{"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "lzcnt", "movbe", "xsave"};
const names fourth{"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"};

names together(const names& a, const names& b) {
  auto all = a;
  all.insert(b.begin(), b.end());
  return all;
}

TEST_CASE("each level has what the ABI says, and all of the one below") {
  CHECK(names_of(level(2).extensions) == second);
  CHECK(names_of(level(3).extensions) == together(second, third));
  CHECK(names_of(level(4).extensions) == together(together(second, third), fourth));
}

TEST_CASE("each level has the registers that its extensions use") {
  constexpr u64 x87_sse = 0x3, avx = 0x4, masks_and_zmm = 0xe0;
  CHECK(level(2).components == x87_sse);
  CHECK(level(3).components == (x87_sse | avx));
  CHECK(level(4).components == (x87_sse | avx | masks_and_zmm));
}

TEST_CASE("a level is named in full or shortly") {
  CHECK(parse_level("x86-64-v2") == 2);
  CHECK(parse_level("x86-64-v3") == 3);
  CHECK(parse_level("x86-64-v4") == 4);
  CHECK(parse_level("v2") == 2);
  CHECK(parse_level("v4") == 4);
}

TEST_CASE("what is no level is none") {
  for (const char* text : {"", "v", "2", "v1", "v5", "v22", "V2", " v2", "v2 ", "x86-64", "x86-64-", "x86-64-v1",
                           "x86-64-v5", "x86-64-x86-64-v2", "x86_64_v2", "haswell"}) {
    CAPTURE(std::string(text));
    CHECK(parse_level(text) == 0);
  }
}

}  // namespace
}  // namespace ckpt::sys::arch
