// SPDX-License-Identifier: MIT
//
// Held against the vectors of xxHash's specification, so that another implementation reads our
// images and a later xxhash.h cannot silently change them.
#include "ckpt/format/checksum.hpp"

#include "support/catch.hpp"

namespace ckpt::format {
namespace {

TEST_CASE("the checksum is XXH3-64 with seed 0") {
  CHECK(checksum({}) == 0x2d06800538d394c2);
  CHECK(checksum(bytes_of_text("a")) == 0xe6c632b61e964e1f);
  CHECK(checksum(bytes_of_text("abc")) == 0x78af5f94892f3950);
}

}  // namespace
}  // namespace ckpt::format
