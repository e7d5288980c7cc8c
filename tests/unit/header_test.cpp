// SPDX-License-Identifier: MIT
//
// The fixed structures of an image: the offsets are promised to every reader there will ever be.
#include "ckpt/format/header.hpp"

#include <cstddef>

#include "support/catch.hpp"

namespace ckpt::format {
namespace {

TEST_CASE("the fields of the header stay where version 1 put them") {
  CHECK(header_offset == 512);
  CHECK(offsetof(file_header, signature) == 0);
  CHECK(offsetof(file_header, major) == 8);
  CHECK(offsetof(file_header, header_size) == 12);
  CHECK(offsetof(file_header, machine) == 16);
  CHECK(offsetof(file_header, features) == 20);
  CHECK(offsetof(file_header, id) == 24);
  CHECK(offsetof(file_header, image_size) == 40);
  CHECK(offsetof(file_header, window_address) == 48);
  CHECK(offsetof(file_header, metadata_offset) == 64);
  CHECK(offsetof(file_header, data_offset) == 88);
  CHECK(offsetof(file_header, table_offset) == 104);
  CHECK(offsetof(file_header, agent_entry) == 128);
  CHECK(offsetof(file_header, restarter_checksum) == 144);
  CHECK(offsetof(file_header, header_checksum) == 176);
  CHECK(offsetof(trailer, image_size) == 24);
  CHECK(offsetof(trailer, trailer_checksum) == 40);
}

TEST_CASE("the signature is spoiled by transfers that change line ends or strip a bit") {
  CHECK(image_magic.bytes[0] >= 0x80);
  CHECK(std::string_view(reinterpret_cast<const char*>(image_magic.bytes.data()), 8) ==
        "\x89"
        "ckpt\r\n\x1a");
  CHECK_FALSE(image_magic == trailer_magic);
}

TEST_CASE("a header's checksum covers every field but itself") {
  file_header h{};
  const u64 zero = own_checksum(h);
  h.header_checksum = 12345u;
  CHECK(own_checksum(h) == zero);
  for (std::size_t i = 0; i < offsetof(file_header, header_checksum); ++i) {
    file_header changed{};
    reinterpret_cast<u8*>(&changed)[i] ^= 0x40;
    INFO("byte " << i);
    CHECK(own_checksum(changed) != zero);
  }
}

TEST_CASE("a trailer's checksum covers every field but itself") {
  trailer t{};
  const u64 zero = own_checksum(t);
  t.trailer_checksum = 12345u;
  CHECK(own_checksum(t) == zero);
  for (std::size_t i = 0; i < offsetof(trailer, trailer_checksum); ++i) {
    trailer changed{};
    reinterpret_cast<u8*>(&changed)[i] ^= 1;
    INFO("byte " << i);
    CHECK(own_checksum(changed) != zero);
  }
}

TEST_CASE("a feature that this version does not know makes the header illegal") {
  file_header h{};
  CHECK(wire::valid_record(h));
  h.features.set(feature::being_updated);
  CHECK(wire::valid_record(h));
  h.features = u32{2};
  CHECK_FALSE(wire::valid_record(h));
}

}  // namespace
}  // namespace ckpt::format
