// SPDX-License-Identifier: MIT
//
// The hole for the restarter: it fits, it touches nothing, and it is divided as it was measured.
#include "ckpt/image/window.hpp"

#include <algorithm>
#include <vector>

#include "support/catch.hpp"
#include "support/seed.hpp"

namespace ckpt::image {
namespace {

result<u64> hole(u64 size, const std::vector<range>& occupied, range avoid = {},
                 u64 floor = 0x10000, u64 limit = window_limit) {
  return find_hole(
      size, page_size, [&](auto&& visit) { std::ranges::for_each(occupied, visit); }, avoid, floor,
      limit);
}

TEST_CASE("the lowest hole that is large enough is taken, a page away from its neighbours") {
  CHECK(hole(0x4000, {}).value() == 0x10000);
  CHECK(hole(0x4000, {{0x10000, 0x20000}}).value() == 0x21000);
  CHECK(hole(0x4000, {{0x10000, 0x20000}, {0x25000, 0x30000}}).value() == 0x31000);
  CHECK(hole(0x4000, {{0x10000, 0x20000}, {0x26000, 0x30000}}).value() == 0x21000);
  CHECK(hole(0x4000, {{0x15000, 0x20000}}).value() == 0x10000);
  CHECK(hole(0x4000, {{0x14000, 0x20000}}).value() == 0x21000);
}

TEST_CASE("what must be avoided counts as occupied, wherever it lies") {
  const std::vector<range> occupied{{0x20000, 0x30000}, {0x50000, 0x60000}};
  CHECK(hole(0x4000, occupied, {0x10000, 0x18000}).value() == 0x19000);
  CHECK(hole(0x4000, occupied, {0x10000, 0x1c000}).value() == 0x31000);
  CHECK(hole(0x10000, occupied, {0x31000, 0x40000}).value() == 0x61000);
  CHECK(hole(0x10000, occupied, {0x61000, 0x70000}).value() == 0x31000);
  CHECK(hole(0x20000, occupied, {0x61000, 0x70000}).value() == 0x71000);
}

TEST_CASE("without a hole below the limit there is none") {
  CHECK(hole(0x4000, {{0x10000, 0x40000}}, {}, 0x10000, 0x44000).error() == errc::no_memory);
  CHECK(hole(0x4000, {{0x10000, 0x40000}}, {}, 0x10000, 0x45000).value() == 0x41000);
}

TEST_CASE("a hole never touches anything, however the map looks") {
  test::random_source random(test::seed());
  INFO("CKPT_SEED=" << test::seed());
  for (int round = 0; round < 2000; ++round) {
    std::vector<range> occupied;
    u64 at = random(0, 30) * page_size;
    for (u64 n = random(0, 8); n > 0; --n) {
      const u64 begin = at + random(0, 12) * page_size;
      at = begin + random(1, 12) * page_size;
      occupied.push_back({begin, at});
    }
    const u64 avoid_at = random(0, 100) * page_size;
    const range avoid{avoid_at, avoid_at + random(0, 10) * page_size};
    const u64 size = random(1, 10) * page_size;
    const auto found = hole(size, occupied, avoid, 16 * page_size);
    REQUIRE(found.ok());
    REQUIRE(*found >= 16 * page_size);
    REQUIRE(*found % page_size == 0);
    const range taken{*found, *found + size};
    for (const range& r : occupied) REQUIRE_FALSE(taken.overlaps(r));
    if (!avoid.empty()) REQUIRE_FALSE(taken.overlaps(avoid));
  }
}

TEST_CASE("the parts of a window follow each other within it") {
  for (u64 metadata : {u64{1}, page_size, 5 * page_size + 1}) {
    for (u64 table : {u64{0}, u64{8}, 3 * page_size}) {
      format::file_header h{};
      h.window_address = u64{0x10000000};
      h.metadata_size = metadata;
      h.table_size = table;
      const u64 restarter = 7 * page_size + 100;
      h.window_size = window_layout::size_for(restarter, metadata, table);
      const auto w = window_layout::of(h, restarter);
      u64 end = w.whole.begin;
      for (const range& part :
           {w.restarter, w.metadata, w.computed, w.expected, w.saved_vdso, w.vdso}) {
        CHECK(part.begin == end);
        CHECK(is_page_aligned(part.end));
        end = part.end;
      }
      CHECK(end <= w.whole.end);
      CHECK(w.restarter.length() >= restarter);
      CHECK(w.metadata.length() >= metadata);
      CHECK(w.computed.length() >= table);
      CHECK(w.expected.length() >= table);
    }
  }
}

}  // namespace
}  // namespace ckpt::image
