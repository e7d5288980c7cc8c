// SPDX-License-Identifier: MIT
//
// The records of descriptors: an offset of -1 and a file of many terabytes survive.
#include "ckpt/state/files/records.hpp"

#include <limits>

#include "support/catch.hpp"

namespace ckpt::state {
namespace {

TEST_CASE("an open file keeps its largest and its negative numbers") {
  open_file f{};
  f.kind = file_kind::regular;
  f.offset = std::numeric_limits<i64>::max();
  f.modified_ns = -1;
  f.size = ~u64{0};
  const auto decoded = wire::decode<open_file>(bytes_of(f));
  REQUIRE(decoded.ok());
  CHECK(decoded->offset == std::numeric_limits<i64>::max());
  CHECK(decoded->modified_ns == -1);
  CHECK(decoded->size == ~u64{0});
}

TEST_CASE("an open file has one mark and no other") {
  open_file f{};
  f.kind = file_kind::regular;
  f.marks.set(file_mark::as_given);
  CHECK(wire::valid_record(f));
  const auto decoded = wire::decode<open_file>(bytes_of(f));
  REQUIRE(decoded.ok());
  CHECK(decoded->marks.has(file_mark::as_given));
  f.marks = wire::flags<file_mark>(2);
  CHECK_FALSE(wire::valid_record(f));
}

TEST_CASE("kinds without a name are illegal") {
  for (u32 kind = 0; kind < 20; ++kind) {
    INFO("kind " << kind);
    open_file f{};
    f.kind = static_cast<file_kind>(kind);
    CHECK(wire::valid_record(f) == ((kind >= 1 && kind <= 7) || (kind >= 9 && kind <= 13)));
    file_lock l{};
    l.kind = static_cast<lock_kind>(kind);
    CHECK(wire::valid_record(l) == (kind >= 1 && kind <= 3));
  }
}

TEST_CASE("a descriptor may have any number, which the rules of the whole check") {
  descriptor d{};
  d.number = -1;
  CHECK(wire::valid_record(d));
  d.reserved.bytes[3] = 1;
  CHECK_FALSE(wire::valid_record(d));
}

}  // namespace
}  // namespace ckpt::state
