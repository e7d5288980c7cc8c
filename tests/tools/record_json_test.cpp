// SPDX-License-Identifier: MIT
//
// JSON has every field of every record, in the types that docs/FORMAT.md promises.
#include "record_json.hpp"

#include <set>
#include <string>

#include "support/catch.hpp"
#include "support/memory_image.hpp"

namespace ckpt::tools {
namespace {

using test::image_builder;

json whole() {
  return image_json(test::opened(image_builder::typical().build()));
}

TEST_CASE("every type of record and every field is there") {
  const json image = whole();
  CHECK(image["records"].size() == image::all_records::size);
  image::all_records::for_each([&]<class Record>() {
    const std::string type(wire::describe<Record>.name);
    INFO(type);
    REQUIRE(image["records"].contains(type));
    REQUIRE(image["records"][type].is_array());
    REQUIRE_FALSE(image["records"][type].empty());
    const Record record{};
    wire::for_each_field(record, [&](std::string_view name, const auto&) {
      INFO(name);
      CHECK(image["records"][type][0].contains(std::string(name)) == (name != "reserved"));
    });
  });
}

TEST_CASE("fields have the types the document promises") {
  const json image = whole();
  const json& r = image["records"];
  CHECK(r["process"][0]["pid"] == 4711);
  CHECK(r["host"][0]["node"] == "node");
  CHECK(r["host"][0]["version"] == "#1 SMP test");
  CHECK(r["thread"][0]["rip"] == "0x400123");
  CHECK(r["thread"][0]["alternate_stack_size"] == 0);
  CHECK(r["segment"][0]["address"] == "0x400000");
  CHECK(r["segment"][0]["length"] == 4 * page_size);
  CHECK(r["segment"][0]["kind"] == "private_file");
  CHECK(r["segment"][0]["protection"] == json::array({"read", "execute"}));
  CHECK(r["segment"][0]["vm_flags"] == json::array());
  CHECK(r["segment"][1]["name"] == "[heap]");
  CHECK(r["extents"][0]["count"] == 5);
  CHECK(r["extents"][0]["extents"][1] ==
        json({{"address", "0x600000"}, {"length", page_size}, {"data", 2 * page_size}}));
  CHECK(r["text"][2]["words"] == json::array({"victim", "--count", "two words"}));
  CHECK(r["text"][0]["text"] == "/usr/bin/victim");
  CHECK(r["open_file"][1]["path"] == "/home/user/log file");
  CHECK(r["resource_limit"][0]["hard"] == ~u64{0});
  CHECK(r["pending_signal"][0]["info"] == std::string(256, '0'));
  CHECK(r["extended_state"][0]["bytes"] == std::string(1024, '0'));
  CHECK(r["cpu"][0]["extensions"] == json::array());
  CHECK(image["header"]["machine"] == "x86_64");
  CHECK(image["header"]["features"] == json::array());
  CHECK(image["header"]["id"] == image["trailer"]["id"]);
  CHECK(image["header"]["signature"] == "89636b70740d0a1a");
  CHECK(image["header"]["metadata_checksum"].get<std::string>().starts_with("0x"));
}

TEST_CASE("vocabularies of bits are named, unknown bits too") {
  auto b = image_builder();
  b.cpu.extensions = u64{1} | u64{1} << 63;
  state::segment s{};
  s.vm_flags = static_cast<u64>(maps::vm_flag::grows_down) | u64{1} << 62;
  CHECK(to_json(s)["vm_flags"] == json::array({"gd", "??"}));
  CHECK(to_json(b.cpu)["extensions"] == json::array({"sse3", "bit-63"}));
}

TEST_CASE("the auxiliary vector is pairs, a cut one too") {
  auto b = image_builder();
  std::string vector(40, '\0');
  vector[0] = 3;
  vector[8] = 0x40;
  b.text(state::text_kind::auxiliary_vector, vector);
  const auto json_text = image_json(test::opened(b.build()))["records"]["text"][0];
  CHECK(json_text["entries"] == json::array({json::array({3, "0x40"}), json::array({0, "0x0"})}));
}

TEST_CASE("names that are not UTF-8 lose nothing, and controls are escaped") {
  auto b = image_builder();
  b.segment(0x400000, 1, state::segment_kind::anonymous, 0, "\xff\x01");
  b.segment(0x500000, 1, state::segment_kind::anonymous, 0, "a\x1b[2J");
  const auto image = image_json(test::opened(b.build()));
  CHECK(image["records"]["segment"][0]["name"] == json({{"hex", "ff01"}}));
  const auto text = image.dump();
  CHECK(text.find('\x1b') == text.npos);
  CHECK(json::parse(text) == image);
}

TEST_CASE("each hexadecimal field exists in some structure") {
  std::set<std::string_view> names;
  const auto collect = [&]<class Record>() {
    const Record record{};
    wire::for_each_field(record, [&](std::string_view name, const auto&) { names.insert(name); });
  };
  image::all_records::for_each(collect);
  collect.operator()<format::file_header>();
  collect.operator()<format::trailer>();
  for (const auto name : hexadecimal_fields) {
    INFO(name);
    CHECK(names.count(name) == 1);
  }
}

}  // namespace
}  // namespace ckpt::tools
