// SPDX-License-Identifier: MIT
//
// The records of memory: their values are the kernel's, their size is the format's.
#include "ckpt/state/segment.hpp"

#include <sys/mman.h>

#include "support/catch.hpp"

namespace ckpt::state {
namespace {

segment some_segment() {
  segment s{};
  s.address = 0x7f0000000000u;
  s.length = page_size;
  s.kind = segment_kind::stack;
  s.protection = u32{PROT_READ | PROT_WRITE};
  return s;
}

TEST_CASE("protections are those of mmap(2)") {
  CHECK(static_cast<int>(protection::read) == PROT_READ);
  CHECK(static_cast<int>(protection::write) == PROT_WRITE);
  CHECK(static_cast<int>(protection::execute) == PROT_EXEC);
  CHECK(wire::valid_record(some_segment()));
  auto s = some_segment();
  s.protection = u32{PROT_GROWSDOWN};
  CHECK_FALSE(wire::valid_record(s));
}

TEST_CASE("a segment has one of the named kinds") {
  for (u32 kind = 0; kind < 10; ++kind) {
    auto s = some_segment();
    s.kind = static_cast<segment_kind>(kind);
    INFO("kind " << kind);
    CHECK(wire::valid_record(s) == (kind >= 1 && kind <= 7));
  }
}

TEST_CASE("an image of version 1 has these sizes and numbers") {
  CHECK(sizeof(segment) == 72);
  CHECK(sizeof(extents) == 16);
  CHECK(sizeof(extent) == 24);
  CHECK(static_cast<int>(segment::record) == 6);
  CHECK(static_cast<int>(extents::record) == 7);
}

}  // namespace
}  // namespace ckpt::state
