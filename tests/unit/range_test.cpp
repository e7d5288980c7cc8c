// SPDX-License-Identifier: MIT
//
// base/range.hpp: address arithmetic that cannot wrap.
#include "ckpt/base/range.hpp"

#include "support/catch.hpp"

using namespace ckpt;

TEST_CASE("a range is made from an address and a length that may be hostile") {
  STATIC_REQUIRE(range::at(0x1000, 0x2000).value() == range{0x1000, 0x3000});
  STATIC_REQUIRE(range::at(0x1000, 0).value().empty());
  STATIC_REQUIRE(range::at(~u64{0}, 0).ok());
  STATIC_REQUIRE(range::at(~u64{0}, 1).error() == errc::overflow);
  STATIC_REQUIRE(range::at(0x1000, ~u64{0}).error() == errc::overflow);
}

TEST_CASE("a range is half open") {
  constexpr range r{0x1000, 0x3000};
  STATIC_REQUIRE(r.length() == 0x2000);
  STATIC_REQUIRE(r.contains(0x1000));
  STATIC_REQUIRE(r.contains(0x2fff));
  STATIC_REQUIRE(!r.contains(0x3000));
  STATIC_REQUIRE(!r.contains(0xfff));
}

TEST_CASE("a range contains itself and its parts") {
  constexpr range r{0x1000, 0x3000};
  STATIC_REQUIRE(r.contains(r));
  STATIC_REQUIRE(r.contains(range{0x1000, 0x2000}));
  STATIC_REQUIRE(!r.contains(range{0xfff, 0x2000}));
  STATIC_REQUIRE(!r.contains(range{0x2000, 0x3001}));
}

TEST_CASE("neighbours do not overlap") {
  constexpr range r{0x1000, 0x3000};
  STATIC_REQUIRE(!r.overlaps(range{0x3000, 0x4000}));
  STATIC_REQUIRE(!r.overlaps(range{0, 0x1000}));
  STATIC_REQUIRE(r.overlaps(range{0x2fff, 0x4000}));
  STATIC_REQUIRE(r.overlaps(range{0, 0x1001}));
  STATIC_REQUIRE(r.overlaps(range{0x1800, 0x1900}));
  STATIC_REQUIRE(range{0x1800, 0x1900}.overlaps(r));
}

TEST_CASE("an intersection is what both have, and empty when that is nothing") {
  constexpr range r{0x1000, 0x3000};
  STATIC_REQUIRE(r.intersect(range{0x2000, 0x9000}) == range{0x2000, 0x3000});
  STATIC_REQUIRE(r.intersect(range{0x1800, 0x1900}) == range{0x1800, 0x1900});
  STATIC_REQUIRE(r.intersect(range{0x4000, 0x9000}).empty());
  STATIC_REQUIRE(r.intersect(range{0x4000, 0x9000}).length() == 0);
  STATIC_REQUIRE(range{0x4000, 0x9000}.intersect(r).length() == 0);
}

TEST_CASE("rounding to pages and to other alignments") {
  STATIC_REQUIRE(is_page_aligned(0));
  STATIC_REQUIRE(is_page_aligned(0x2000));
  STATIC_REQUIRE(!is_page_aligned(0x2001));
  STATIC_REQUIRE(page_down(0x2fff) == 0x2000);
  STATIC_REQUIRE(page_down(0x2000) == 0x2000);
  STATIC_REQUIRE(page_up(0x2001) == 0x3000);
  STATIC_REQUIRE(page_up(0x2000) == 0x2000);
  STATIC_REQUIRE(align_up(65, 64) == 128);
  STATIC_REQUIRE(align_up(64, 64) == 64);
  STATIC_REQUIRE(align_up(7, 3) == 9);
}
