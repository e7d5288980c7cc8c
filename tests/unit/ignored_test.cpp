// SPDX-License-Identifier: MIT
#include "ckpt/options/ignored.hpp"

#include <string>

#include "ckpt/state/files/wishes.hpp"
#include "support/catch.hpp"

using namespace ckpt;

TEST_CASE("numbers and words, several at once or one after the other") {
  options::ignored_descriptors d;
  CHECK(d.add("5"));
  CHECK(d.add("7,socket,0"));
  CHECK(d.has(5));
  CHECK(d.has(7));
  CHECK(d.has(0));
  CHECK_FALSE(d.has(6));
  CHECK(d.sockets);
  CHECK_FALSE(d.all);
  CHECK(d.add("all"));
  CHECK(d.all);
}

TEST_CASE("of a list with a word that means nothing, nothing is taken") {
  for (const char* bad : {"", ",", "5,", "sockets", "-1", "2147483648", "5 6", "ALL", "5,x"}) {
    INFO(bad);
    options::ignored_descriptors d;
    CHECK_FALSE(d.add(bad));
    CHECK(d.count == 0);
    CHECK_FALSE(d.all);
  }
}

TEST_CASE("there is an end to numbers, and one said twice is one") {
  options::ignored_descriptors d;
  for (u64 i = 0; i < options::ignored_descriptors::capacity; ++i) CHECK(d.add(std::to_string(i)));
  CHECK(d.add("3"));
  CHECK_FALSE(d.add("1000"));
}

TEST_CASE("what the program says of a descriptor counts more than what its user does") {
  const state::descriptor_wish said[] = {{3, true, false, {}}, {5, true, true, {}},
                                         {8, false, false, "/elsewhere"}};
  state::descriptor_wishes w{said, {}};
  REQUIRE(w.ignored.add("3,4,8,socket"));
  CHECK_FALSE(w.ignores(3));
  CHECK(w.ignores(4));
  CHECK(w.ignores(5));
  CHECK(w.ignores(8));
  CHECK_FALSE(w.ignores(6));
  CHECK(w.forgives(true));
  CHECK_FALSE(w.forgives(false));
}
