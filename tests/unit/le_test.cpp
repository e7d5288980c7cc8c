// SPDX-License-Identifier: MIT
//
// The field types: their bytes, and which of them are legal.
#include "ckpt/wire/le.hpp"

#include <bit>
#include <limits>

#include "support/catch.hpp"

namespace ckpt::wire {
namespace {

enum class colour : u16 { red = 1, green = 0x1234 };
constexpr bool legal(colour c) {
  return c == colour::red || c == colour::green;
}

enum class mode : u32 { read = 1, write = 2, top = 0x80000000 };
constexpr u32 all_of(mode) {
  return 0x80000003;
}

template <class T>
std::array<u8, sizeof(T)> raw(const T& field) {
  return std::bit_cast<std::array<u8, sizeof(T)>>(field);
}

TEST_CASE("an integer lies in little-endian order, wherever it is") {
  STATIC_REQUIRE(sizeof(le<u64>) == 8);
  STATIC_REQUIRE(alignof(le<u64>) == 1);
  STATIC_REQUIRE(std::is_trivially_copyable_v<le<u32>>);
  CHECK(raw(le<u16>(0x0102)) == std::array<u8, 2>{2, 1});
  CHECK(raw(le<u32>(0x01020304)) == std::array<u8, 4>{4, 3, 2, 1});
  CHECK(raw(le<u64>(0x0102030405060708)) == std::array<u8, 8>{8, 7, 6, 5, 4, 3, 2, 1});
  CHECK(raw(le<i32>(-2)) == std::array<u8, 4>{0xfe, 0xff, 0xff, 0xff});
}

TEST_CASE("what was put in comes out, at both ends of the range") {
  STATIC_REQUIRE(le<u64>(0x0102030405060708).get() == 0x0102030405060708);
  STATIC_REQUIRE(le<i64>(std::numeric_limits<i64>::min()).get() == std::numeric_limits<i64>::min());
  CHECK(le<u64>(~u64{0}) == ~u64{0});
  CHECK(le<i32>(-1).get() == -1);
  CHECK(le<i16>(std::numeric_limits<i16>::min()).get() == -32768);
  CHECK(le<u8>(200).get() == 200);
  CHECK(le<u32>{}.get() == 0);
}

TEST_CASE("an enumerator is stored as its underlying type, and only named ones are legal") {
  CHECK(raw(le<colour>(colour::green)) == std::array<u8, 2>{0x34, 0x12});
  CHECK(valid(le<colour>(colour::red)));
  CHECK_FALSE(valid(le<colour>(static_cast<colour>(2))));
  CHECK_FALSE(valid(le<colour>{}));
  CHECK(valid(le<u32>(12345)));
}

TEST_CASE("a set of flags knows its bits, and an unnamed bit is illegal") {
  flags<mode> f;
  CHECK(valid(f));
  f.set(mode::write).set(mode::top);
  CHECK(f.has(mode::write));
  CHECK(f.has(mode::top));
  CHECK_FALSE(f.has(mode::read));
  CHECK(f.bits() == 0x80000002);
  CHECK(raw(f) == std::array<u8, 4>{2, 0, 0, 0x80});
  CHECK(valid(f));
  CHECK_FALSE(valid(flags<mode>(4u)));
  CHECK_FALSE(valid(flags<mode>(0x40000001u)));
}

TEST_CASE("text is padded with zeros and may fill its field") {
  CHECK(text<4>("ab").view() == "ab");
  CHECK(text<4>("abcd").view() == "abcd");
  CHECK(text<4>("abcdef").view() == "abcd");
  CHECK(text<4>("").view().empty());
  CHECK(raw(text<4>("ab")) == std::array<u8, 4>{'a', 'b', 0, 0});
  CHECK(text<8>(std::string_view("a\0b", 3)).view() == "a");
}

TEST_CASE("text with something behind its end is illegal") {
  const std::array<u8, 4> hidden{'a', 0, 'b', 0};
  CHECK_FALSE(valid(std::bit_cast<text<4>>(hidden)));
  CHECK(valid(text<4>("a")));
  CHECK(valid(text<4>("abcd")));
}

TEST_CASE("reserved bytes must be zero, every one of them") {
  CHECK(valid(reserved<3>{}));
  for (std::size_t i = 0; i < 3; ++i) {
    reserved<3> r{};
    r.bytes[i] = 1;
    CHECK_FALSE(valid(r));
  }
}

TEST_CASE("a blob takes any bytes and compares by them") {
  CHECK(valid(blob<2>{{0xff, 0x00}}));
  CHECK(blob<2>{{1, 2}} == blob<2>{{1, 2}});
  CHECK_FALSE(blob<2>{{1, 2}} == blob<2>{{1, 3}});
}

}  // namespace
}  // namespace ckpt::wire
