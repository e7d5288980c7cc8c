// SPDX-License-Identifier: MIT
//
// Where a restart may jump to, and on which stack. The image is right in every other way.
#include "ckpt/image/agent_place.hpp"

#include "support/catch.hpp"
#include "support/image_builder.hpp"

namespace ckpt::image {
namespace {

using test::image_builder;

bool accepted(const test::image_bytes& image) {
  const auto h = test::header_of(image);
  const bytes metadata = *test::piece(image, h.metadata_offset, h.metadata_size);
  report why;
  REQUIRE(validate_metadata(h, metadata, why).ok());
  const bool good = check_agent(h, metadata, why).ok();
  CHECK((good || why.line() == "has no agent to go on with"));
  return good;
}

bool with_header(void (*change)(format::file_header&)) {
  auto image = image_builder::typical().build();
  test::edit_header(image, change);
  return accepted(image);
}

TEST_CASE("the agent goes on in code, on a stack that can be written") {
  CHECK(accepted(image_builder::typical().build()));
  CHECK_FALSE(with_header([](auto& h) { h.agent_entry = image_builder::stack + page_size; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_entry = u64{0}; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_stack = image_builder::code + page_size; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_stack = u64{0}; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_stack = ~u64{0} & ~u64{15}; }));
}

TEST_CASE("the restarter's own push must have a place") {
  // The stack's segment has three pages, the first is a guard.
  CHECK(with_header([](auto& h) { h.agent_stack = image_builder::stack + 3 * page_size; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_stack = image_builder::stack + 3 * page_size + 16; }));
  CHECK_FALSE(with_header([](auto& h) { h.agent_stack = image_builder::stack + 2 * page_size + 8; }));
  CHECK(with_header([](auto& h) { h.agent_stack = image_builder::stack + page_size + 16; }));
}

TEST_CASE("neither is in memory that is not there yet") {
  for (const auto kind : {state::segment_kind::vdso, state::segment_kind::shared}) {
    auto builder = image_builder::typical();
    builder.segment(0x7ffe00000000, 1, kind, 7);
    auto image = builder.build();
    const auto here = [&](auto& h) {
      h.agent_entry = u64{0x7ffe00000000};
      h.agent_stack = u64{0x7ffe00000000} + page_size;
    };
    if (kind == state::segment_kind::shared)
      REQUIRE(test::edit<state::segment>(image, 7, [](auto& s) { s.object = 2u; }));
    CHECK(accepted(image));
    test::edit_header(image, here);
    CHECK_FALSE(accepted(image));
  }
}

}  // namespace
}  // namespace ckpt::image
