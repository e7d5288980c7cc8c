// SPDX-License-Identifier: MIT
//
// The names come from the compiler; this holds its spelling against the source's.
#include "enumerators.hpp"

#include "ckpt/image/all_records.hpp"
#include "ckpt/format/header.hpp"
#include "support/catch.hpp"

namespace ckpt::tools {
namespace {

template <class E>
std::string listed() {
  std::string text;
  for (const auto& e : enumerators<E>())
    text += std::to_string(e.value) + " " + std::string(e.name) + ", ";
  return text;
}

TEST_CASE("enumerators have the names of the source") {
  CHECK(listed<state::lock_kind>() == "1 posix, 2 open_file_description, 3 flock, ");
  CHECK(listed<format::machine>() == "62 x86_64, ");
  CHECK(enumerators<format::record_type>().size() == image::all_records::size);
  CHECK(name_of(state::file_kind::kernel_file) == "kernel_file");
  CHECK(spoken_name(state::file_kind::kernel_file) == "kernel file");
  CHECK(name_of(static_cast<format::machine>(183)) == "183");
  CHECK(enumerator_name<static_cast<state::file_kind>(99)>().empty());
}

TEST_CASE("flags are listed bit by bit") {
  const auto& bits = flag_bits<state::protection>();
  REQUIRE(bits.size() == 3);
  CHECK(bits[2].value == 4);
  CHECK(bits[2].name == "execute");
  CHECK(flag_bits<format::record_flag>().size() == 1);
}

}  // namespace
}  // namespace ckpt::tools
