// SPDX-License-Identifier: MIT
//
// The sum that the first stage compares: no change of eight bytes escapes it, and it leaves out what has
// a checksum of its own. That the instructions make the same sum is seen by every image that runs.
#include "ckpt/image/first_stage.hpp"

#include <vector>

#include "support/catch.hpp"
#include "support/seed.hpp"

namespace ckpt::image {
namespace {

std::vector<std::byte> some_restarter(u64 seed) {
  std::vector<std::byte> made(2 * page_size);
  for (auto& b : made) b = static_cast<std::byte>((seed = seed * 6364136223846793005 + 1) >> 56);
  return made;
}

TEST_CASE("every bit counts but those of the header's room") {
  auto restarter = some_restarter(test::seed());
  const u64 good = stage_sum(restarter);
  for (u64 at = 0; at < restarter.size(); ++at) {
    const auto bit = static_cast<std::byte>(1u << (at % 8));
    restarter[at] ^= bit;
    const bool counted = at < stage_sum_offset || at >= stage_sum_resumes;
    CHECK((stage_sum(restarter) != good) == counted);
    restarter[at] ^= bit;
  }
}

TEST_CASE("it lies just before the header, where it does not count itself") {
  auto restarter = some_restarter(test::seed());
  set_stage_sum(restarter);
  wire::le<u64> there;
  std::memcpy(&there, restarter.data() + format::header_offset - sizeof there, sizeof there);
  CHECK(there == stage_sum(restarter));
  CHECK(stage_sum_resumes >= format::header_offset + sizeof(format::file_header));
}

}  // namespace
}  // namespace ckpt::image
