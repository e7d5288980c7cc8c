// SPDX-License-Identifier: MIT
//
// The ruler must notice every way in which a description can differ from its structure; the codec
// and the validator follow the same walk.
#include "ckpt/wire/layout.hpp"

#include <string>
#include <vector>

#include "support/catch.hpp"

namespace ckpt::layout_test {

enum class colour : u16 { red = 1 };
constexpr bool legal(colour c) {
  return c == colour::red;
}

struct good {
  wire::le<u32> first;
  wire::le<colour> second;
  wire::reserved<2> reserved;
  wire::text<8> name;
};
struct forgotten {  // a field in the middle is not adapted
  wire::le<u32> first;
  wire::le<u32> second;
  wire::le<u32> third;
};
struct forgotten_last {
  wire::le<u32> first;
  wire::le<u32> second;
};
struct swapped {
  wire::le<u32> first;
  wire::le<u32> second;
};

}  // namespace ckpt::layout_test

BOOST_HANA_ADAPT_STRUCT(ckpt::layout_test::good, first, second, reserved, name);
BOOST_HANA_ADAPT_STRUCT(ckpt::layout_test::forgotten, first, third);
BOOST_HANA_ADAPT_STRUCT(ckpt::layout_test::forgotten_last, first);
BOOST_HANA_ADAPT_STRUCT(ckpt::layout_test::swapped, second, first);

namespace ckpt::layout_test {
namespace {

good red() {
  good g{};
  g.first = 0x11223344u;
  g.second = colour::red;
  g.name = wire::text<8>("name");
  return g;
}

TEST_CASE("the ruler accepts a structure whose fields are all adapted in order") {
  STATIC_REQUIRE(wire::laid_out_in<good, 16>());
  STATIC_REQUIRE(wire::field_count<good>() == 4);
}

TEST_CASE("the ruler refuses forgotten and swapped fields") {
  STATIC_REQUIRE_FALSE(wire::laid_out_in<forgotten, 12>());
  STATIC_REQUIRE_FALSE(wire::laid_out_in<forgotten_last, 8>());
  STATIC_REQUIRE_FALSE(wire::laid_out_in<swapped, 8>());
}

TEST_CASE("the walk gives each field with its name, and can write to it") {
  good g = red();
  std::vector<std::string> names;
  std::size_t bytes_seen = 0;
  wire::for_each_field(g, [&]<class Field>(std::string_view name, Field& field) {
    names.emplace_back(name);
    bytes_seen += sizeof field;
    if constexpr (std::is_same_v<Field, wire::le<u32>>) field = 7u;
  });
  CHECK(names == std::vector<std::string>{"first", "second", "reserved", "name"});
  CHECK(bytes_seen == sizeof g);
  CHECK(g.first == 7);
}

TEST_CASE("a record is valid when each of its fields is") {
  CHECK(wire::valid_record(red()));
  good g = red();
  g.second = static_cast<colour>(9);
  CHECK_FALSE(wire::valid_record(g));
  g = red();
  g.reserved.bytes[1] = 1;
  CHECK_FALSE(wire::valid_record(g));
}

TEST_CASE("decoding copies the bytes and refuses illegal ones") {
  const good g = red();
  const auto decoded = wire::decode<good>(bytes_of(g));
  REQUIRE(decoded.ok());
  CHECK(decoded->first == 0x11223344);
  CHECK(decoded->name.view() == "name");
  good bad = red();
  bad.second = static_cast<colour>(9);
  CHECK(wire::decode<good>(bytes_of(bad)).error() == errc::malformed);
}

TEST_CASE("fields an older writer did not know are zero, those of a newer one are ignored") {
  const good g = red();
  const auto shorter = wire::decode<good>(bytes_of(g).first(8));
  REQUIRE(shorter.ok());
  CHECK(shorter->first == 0x11223344);
  CHECK(shorter->name.view().empty());

  std::vector<std::byte> longer(bytes_of(g).begin(), bytes_of(g).end());
  longer.resize(longer.size() + 8, std::byte{0xff});
  const auto decoded = wire::decode<good>(longer);
  REQUIRE(decoded.ok());
  CHECK(decoded->name.view() == "name");
}

}  // namespace
}  // namespace ckpt::layout_test
