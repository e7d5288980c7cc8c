// SPDX-License-Identifier: MIT
//
// The contract between a restarter and an agent of another version: fields are only ever added at
// the end.
#include "ckpt/image/handover.hpp"

#include <cstddef>
#include <type_traits>

#include "support/catch.hpp"

namespace ckpt::image {
namespace {

TEST_CASE("the fields of the handover stay where they are") {
  STATIC_REQUIRE(std::is_standard_layout_v<handover>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<handover>);
  CHECK(offsetof(handover, size) == 0);
  CHECK(offsetof(handover, files) == 4);
  CHECK(offsetof(handover, verbose) == 8);
  CHECK(offsetof(handover, name_length) == 12);
  CHECK(offsetof(handover, name) == 16);
  CHECK(offsetof(handover, metadata) == 24);
  CHECK(offsetof(handover, metadata_size) == 32);
  CHECK(offsetof(handover, contents) == 40);
  CHECK(offsetof(handover, contents_size) == 48);
  CHECK(offsetof(handover, window) == 56);
  CHECK(offsetof(handover, contents_mapping) == 72);
  CHECK(offsetof(handover, keep) == 88);
  CHECK(offsetof(handover, tids_kept) == 104);
  CHECK(offsetof(handover, capabilities) == 112);
  CHECK(offsetof(handover, outside) == 120);
  CHECK(offsetof(handover, gone) == 144);
  CHECK(sizeof(handover) >= 168);
  CHECK(static_cast<u32>(state::files_policy::standard) == 0);
  CHECK(static_cast<u32>(state::files_policy::rewind) == 1);
  CHECK(static_cast<u32>(state::files_policy::keep) == 2);
}

}  // namespace
}  // namespace ckpt::image
