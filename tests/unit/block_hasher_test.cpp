// SPDX-License-Identifier: MIT
//
// The checksums may not depend on how the stream was cut.
#include "ckpt/image/block_hasher.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/seed.hpp"

namespace ckpt::image {
namespace {

using table = std::vector<wire::le<u64>>;

std::vector<u64> values(const table& t) {
  return {t.begin(), t.end()};
}

std::vector<u64> expected(const std::string& data, u64 block) {
  std::vector<u64> sums;
  for (u64 at = 0; at < data.size(); at += block)
    sums.push_back(format::checksum(bytes_of_text(data.substr(at, block))));
  return sums;
}

std::string some_bytes(std::size_t n) {
  std::string data(n, '\0');
  for (std::size_t i = 0; i < n; ++i) data[i] = static_cast<char>(i * 131 + i / 251);
  return data;
}

TEST_CASE("each block has its own checksum, the last may be short") {
  for (std::size_t n : {0u, 1u, 99u, 100u, 101u, 200u, 250u, 1000u}) {
    const auto data = some_bytes(n);
    table sums((n + 99) / 100);
    block_hasher hasher(100, sums);
    hasher.add(bytes_of_text(data));
    hasher.finish();
    INFO(n << " bytes");
    CHECK(hasher.blocks() == sums.size());
    CHECK(values(sums) == expected(data, 100));
  }
}

TEST_CASE("pieces of any size give the same checksums") {
  test::random_source random(test::seed());
  INFO("CKPT_SEED=" << test::seed());
  const auto data = some_bytes(10'000);
  for (int round = 0; round < 50; ++round) {
    const u64 block = random(1, 700);
    table sums((data.size() + block - 1) / block);
    block_hasher hasher(block, sums);
    for (std::size_t at = 0; at < data.size();) {
      const auto n = std::min<std::size_t>(random(0, 1500), data.size() - at);
      hasher.add(bytes_of_text(std::string_view(data).substr(at, n)));
      at += n;
    }
    hasher.finish();
    INFO("block " << block);
    CHECK(values(sums) == expected(data, block));
  }
}

TEST_CASE("finishing twice, or at the end of a block, adds nothing") {
  const auto data = some_bytes(200);
  table sums(2);
  block_hasher hasher(100, sums);
  hasher.add(bytes_of_text(data).first(150));
  CHECK(hasher.blocks() == 1);
  hasher.add(bytes_of_text(data).subspan(150));
  CHECK(hasher.blocks() == 2);
  hasher.finish();
  hasher.finish();
  CHECK(hasher.blocks() == 2);
}

}  // namespace
}  // namespace ckpt::image
