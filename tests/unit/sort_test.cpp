// SPDX-License-Identifier: MIT
//
// base/sort.hpp: order, stability, and how often it compares.
#include "ckpt/base/sort.hpp"

#include <algorithm>
#include <random>
#include <vector>

#include "support/catch.hpp"

namespace ckpt {
namespace {

struct item {
  u32 key, place;
  bool operator==(const item&) const = default;
};

std::vector<item> items(std::size_t n, u32 keys) {
  std::mt19937 random(static_cast<u32>(n) * 31 + keys);
  std::vector<item> all;
  for (u32 i = 0; i < n; ++i) all.push_back({static_cast<u32>(random() % keys), i});
  return all;
}

TEST_CASE("every length is sorted as std::stable_sort does it") {
  const auto less = [](const item& a, const item& b) { return a.key < b.key; };
  for (std::size_t n = 0; n < 70; ++n)
    for (const u32 keys : {1u, 3u, 1000u}) {
      auto ours = items(n, keys);
      auto theirs = ours;
      std::vector<item> room(n);
      merge_sort(std::span(ours), std::span(room), less);
      std::stable_sort(theirs.begin(), theirs.end(), less);
      INFO(n << " items of " << keys << " keys");
      CHECK(ours == theirs);
    }
}

TEST_CASE("comparisons are n log n, and n for what is sorted") {
  constexpr std::size_t n = 4096;
  u64 compared = 0;
  const auto less = [&](const item& a, const item& b) {
    ++compared;
    return a.key < b.key;
  };
  auto all = items(n, 1u << 30);
  std::vector<item> room(n);
  merge_sort(std::span(all), std::span(room), less);
  CHECK(compared <= n * 13);
  compared = 0;
  merge_sort(std::span(all), std::span(room), less);
  CHECK(compared < n);
}

TEST_CASE("the first that is not before") {
  const std::vector<u32> all = {1, 3, 3, 3, 9};
  const auto first = [&](u32 wanted) {
    return first_not(std::span(all), [&](u32 i) { return i < wanted; });
  };
  CHECK(first(0) == 0);
  CHECK(first(3) == 1);
  CHECK(first(4) == 4);
  CHECK(first(10) == 5);
  CHECK(first_not(std::span<const u32>(), [](u32) { return true; }) == 0);
}

}  // namespace
}  // namespace ckpt
