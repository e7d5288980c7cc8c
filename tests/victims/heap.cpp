// SPDX-License-Identifier: MIT
// malloc in the middle of its work: small, large and moved blocks, freed holes, and it goes on.
//
// Fidelity: memory | malloc in the middle of its work | kept
#include <memory>
#include <vector>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  std::vector<std::pair<unsigned char*, size_t>> blocks;
  uint64_t state = 1;
  auto next = [&] { return state = state * 6364136223846793005u + 1442695040888963407u; };
  auto size_of = [&] { return next() >> 40 & 15 ? (next() >> 52) + 1 : (next() >> 45) + 1; };
  for (size_t i = 0; i < 1000; ++i) {
    size_t size = size_of();
    blocks.emplace_back(static_cast<unsigned char*>(malloc(size)), size);
    victim::fill(blocks.back().first, size, i);
  }
  victim::ready();
  while (!victim::stop_requested()) {
    for (int i = 0; i < 20; ++i) {
      size_t at = (next() >> 33) % blocks.size();
      free(blocks[at].first);
      size_t size = size_of();
      blocks[at] = {static_cast<unsigned char*>(malloc(size)), size};
      victim::fill(blocks[at].first, size, at);
    }
  }
  for (size_t i = 0; i < blocks.size(); ++i)
    if (!victim::expect_filled("block", blocks[i].first, blocks[i].second, i)) break;
  auto* large = static_cast<unsigned char*>(malloc(1 << 20));
  victim::fill(large, 1 << 20, 77);
  large = static_cast<unsigned char*>(realloc(large, 40 << 20));
  victim::expect_filled("block that moved", large, 1 << 20, 77);
  free(large);
  for (auto& block : blocks) free(block.first);
  return victim::finish();
}
