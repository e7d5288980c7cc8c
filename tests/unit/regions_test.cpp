// SPDX-License-Identifier: MIT
#include "regions.hpp"

#include <cstring>
#include <memory>
#include <vector>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::agent;

namespace {

constexpr auto keep = region_kind::keep, zero = region_kind::zero, omit = region_kind::omit;

/// Words in order, and what they come to byte by byte.
struct words {
  std::unique_ptr<region_list> now = std::make_unique<region_list>();
  std::unique_ptr<region_list> next = std::make_unique<region_list>();
  bool say(u64 begin, u64 end, region_kind kind) {
    if (!next->assign(*now, {{begin, end}, kind})) return false;
    std::swap(now, next);
    return true;
  }
  std::string text() const {
    std::string all;
    for (const region& r : now->all())
      all += (r.kind == zero ? "z" : "o") + std::to_string(r.where.begin) + "-" +
             std::to_string(r.where.end) + " ";
    return all;
  }
};

std::string pieces(const region_view& view, range where, bool kept) {
  std::string all;
  const auto add = [&](range r) -> result<void> {
    all += std::to_string(r.begin / page_size) + "-" + std::to_string(r.end / page_size) + " ";
    return {};
  };
  CHECK((kept ? view.each_kept(where, add) : view.each_mapped(where, add)).ok());
  return all;
}

}  // namespace

TEST_CASE("the latest word counts where regions overlap") {
  words w;
  CHECK(w.say(10, 20, zero));
  CHECK(w.text() == "z10-20 ");
  CHECK(w.say(15, 30, omit));
  CHECK(w.text() == "z10-15 o15-30 ");
  CHECK(w.say(12, 17, keep));
  CHECK(w.text() == "z10-12 o17-30 ");
  CHECK(w.say(20, 22, zero));
  CHECK(w.text() == "z10-12 o17-20 z20-22 o22-30 ");
  CHECK(w.say(0, 100, keep));
  CHECK(w.text().empty());
}

TEST_CASE("regions that adjoin and say the same are one") {
  words w;
  CHECK(w.say(10, 20, zero));
  CHECK(w.say(30, 40, zero));
  CHECK(w.say(20, 30, zero));
  CHECK(w.text() == "z10-40 ");
  CHECK(w.say(5, 50, zero));
  CHECK(w.text() == "z5-50 ");
}

TEST_CASE("a word for which there is no room changes nothing") {
  words w;
  for (u64 i = 0; i < region_list::capacity; ++i) CHECK(w.say(4 * i, 4 * i + 2, zero));
  const auto before = w.text();
  CHECK_FALSE(w.say(5'000'000, 5'000'001, zero));
  CHECK_FALSE(w.say(4, 5, omit));
  CHECK(w.text() == before);
  CHECK(w.say(0, 8, keep));
  CHECK(w.say(5'000'000, 5'000'001, zero));
}

TEST_CASE("random words come to what they come to byte by byte") {
  words w;
  std::vector<region_kind> bytes(200, keep);
  u64 seed = 7;
  const auto number = [&](u64 below) {
    seed = seed * 6364136223846793005 + 1442695040888963407;
    return (seed >> 33) % below;
  };
  for (int i = 0; i < 3000; ++i) {
    const u64 begin = number(199), end = begin + 1 + number(200 - begin - 1 + 1);
    const auto kind = static_cast<region_kind>(number(3));
    REQUIRE(w.say(begin, end, kind));
    for (u64 b = begin; b < end && b < bytes.size(); ++b) bytes[b] = kind;
    std::vector<region_kind> seen(200, keep);
    u64 last = 0;
    for (const region& r : w.now->all()) {
      REQUIRE(r.where.begin >= last);
      REQUIRE_FALSE(r.where.empty());
      last = r.where.end;
      for (u64 b = r.where.begin; b < r.where.end && b < 200; ++b) seen[b] = r.kind;
    }
    REQUIRE(seen == bytes);
  }
}

TEST_CASE("only whole pages are left out, and only omitted ones are not mapped") {
  words w;
  w.say(1 * page_size + 1, 4 * page_size, omit);
  w.say(4 * page_size, 6 * page_size + 5, zero);
  w.say(8 * page_size, 9 * page_size, zero);
  const region_view view(w.now->all());
  const range all{0, 10 * page_size};
  CHECK(pieces(view, all, false) == "0-2 4-10 ");
  CHECK(pieces(view, all, true) == "0-2 6-8 9-10 ");
  CHECK(pieces(view, {3 * page_size, 5 * page_size}, true).empty());
  CHECK(pieces(view, {6 * page_size, 8 * page_size}, true) == "6-8 ");
}

TEST_CASE("a page of which two regions leave out a part each is left out") {
  words w;
  w.say(page_size, page_size + 100, zero);
  w.say(page_size + 100, 2 * page_size, omit);
  const region_view view(w.now->all());
  CHECK(pieces(view, {0, 3 * page_size}, true) == "0-1 2-3 ");
  CHECK(pieces(view, {0, 3 * page_size}, false) == "0-3 ");
}

TEST_CASE("a region at the end of the address space does not wrap") {
  words w;
  w.say(~u64{0} - 10, ~u64{0}, omit);
  const region_view view(w.now->all());
  CHECK(pieces(view, {0, page_size}, false) == "0-1 ");
  CHECK(region_view::whole_pages({~u64{0} - 10, ~u64{0}}).empty());
}

TEST_CASE("a copy is wiped to the byte") {
  words w;
  w.say(1003, 1005, zero);
  w.say(1007, 2000, omit);
  const region_view view(w.now->all());
  u8 copy[10];
  std::memset(copy, 0xff, sizeof copy);
  view.wipe(1000, std::as_writable_bytes(std::span(copy)));
  const u8 wanted[10] = {0xff, 0xff, 0xff, 0, 0, 0xff, 0xff, 0, 0, 0};
  CHECK(std::memcmp(copy, wanted, sizeof copy) == 0);
  CHECK(view.next_touched(0, page_size) == 0);
  CHECK(view.next_touched(page_size, 2 * page_size) == 2 * page_size);
  CHECK_FALSE(view.touches({page_size, 3 * page_size}));
  CHECK_FALSE(view.touches({1005, 1007}));
}

TEST_CASE("what a registry refuses, it says why") {
  auto registry = std::make_unique<region_registry>();
  const range own[] = {{5000, 6000}};
  CHECK(registry->say(~u64{0} - 5, 10, 1, own).starts_with("the region wraps"));
  CHECK(registry->say(100, 10, 3, own).starts_with("a region is"));
  CHECK(registry->say(4999, 2, 1, own).starts_with("the region has memory of ckpt"));
  CHECK(registry->say(4999, 2, 0, own).empty());
  CHECK(registry->say(4999, 1, 1, own).empty());
  CHECK(registry->say(100, 0, 1, own).empty());
  REQUIRE(registry->view().all().size() == 1);
  CHECK(registry->view().all()[0].where == range{4999, 5000});
}
