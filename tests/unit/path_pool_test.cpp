// SPDX-License-Identifier: MIT
#include "path_pool.hpp"

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "support/catch.hpp"

using namespace ckpt;
using agent::path_pool;

TEST_CASE("an empty pool has no path") {
  auto pool = std::make_unique<path_pool>();
  CHECK(pool->take("/a") == nullptr);
}

TEST_CASE("paths are malloc's, and as many as were wanted") {
  auto pool = std::make_unique<path_pool>();
  pool->fill(10);
  std::vector<char*> taken;
  for (int i = 0; i < 10; ++i) {
    taken.push_back(pool->take("/path/" + std::to_string(i)));
    REQUIRE(taken.back() != nullptr);
    CHECK(taken.back() == "/path/" + std::to_string(i));
  }
  for (char* path : taken) free(path);
}

TEST_CASE("the smallest that holds a path is taken") {
  auto pool = std::make_unique<path_pool>();
  char* const small = static_cast<char*>(malloc(4));
  char* const large = static_cast<char*>(malloc(300));
  pool->give(large, 300);
  pool->give(small, 4);
  CHECK(pool->take("abcd") == large);  // with its end it takes five
  CHECK(pool->take("abc") == small);
  CHECK(pool->take("") == nullptr);
  free(small);
  free(large);
}

TEST_CASE("filled again, it has what is missing and no more") {
  auto pool = std::make_unique<path_pool>();
  pool->fill(5);
  const std::string longest(path_pool::longest_path - 1, 'x');
  std::vector<char*> taken;
  for (char* path; (path = pool->take(longest)) != nullptr;) taken.push_back(path);
  CHECK(taken.size() == path_pool::long_ones);
  pool->fill(5);
  for (char* path; (path = pool->take("")) != nullptr;) taken.push_back(path);
  CHECK(taken.size() == 2 * path_pool::long_ones + 5);
  for (char* path : taken) free(path);
}
