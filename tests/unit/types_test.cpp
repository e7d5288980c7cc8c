// SPDX-License-Identifier: MIT
//
// base/types.hpp: bytes of values and texts.
#include "ckpt/base/types.hpp"

#include "support/catch.hpp"

using namespace ckpt;

TEST_CASE("the bytes of a value are its object representation") {
  const u32 value = 0x04030201;
  const bytes raw = bytes_of(value);
  REQUIRE(raw.size() == 4);
  CHECK(static_cast<const void*>(raw.data()) == static_cast<const void*>(&value));
  CHECK(raw[0] == std::byte{1});
  CHECK(raw[3] == std::byte{4});
}

TEST_CASE("text becomes bytes and text again, without a terminator") {
  const bytes raw = bytes_of_text("image");
  CHECK(raw.size() == 5);
  CHECK(text_of_bytes(raw) == "image");
  CHECK(bytes_of_text("").empty());
  CHECK(text_of_bytes({}).empty());
}
