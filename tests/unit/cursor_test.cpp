// SPDX-License-Identifier: MIT
//
// proc/cursor.hpp: the parts that the /proc parsers are made of.
#include "ckpt/proc/cursor.hpp"

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::proc;

namespace {

template <class T>
constexpr result<T> number(std::string_view text, unsigned base = 10) {
  cursor c(text);
  const T value = c.number<T>(base);
  if (c.failed() || !c.at_end()) return errc::malformed;
  return value;
}

}  // namespace

TEST_CASE("a number is read to the limits of its type and not beyond") {
  STATIC_REQUIRE(number<int>("2147483647").value() == 2147483647);
  STATIC_REQUIRE(!number<int>("2147483648"));
  STATIC_REQUIRE(number<int>("-2147483648").value() == -2147483647 - 1);
  STATIC_REQUIRE(!number<int>("-2147483649"));
  STATIC_REQUIRE(number<u64>("18446744073709551615").value() == ~u64{0});
  STATIC_REQUIRE(!number<u64>("18446744073709551616"));
  STATIC_REQUIRE(!number<u64>("-1"));
  STATIC_REQUIRE(number<i64>("-9223372036854775808").value() == std::numeric_limits<i64>::min());
  STATIC_REQUIRE(number<u64>("  \tff", 16).value() == 0xff);
  STATIC_REQUIRE(number<u32>("0022", 8).value() == 022);
  STATIC_REQUIRE(!number<u32>("9", 8));
  STATIC_REQUIRE(!number<u32>(""));
  STATIC_REQUIRE(!number<int>("-"));
  STATIC_REQUIRE(!number<int>("--1"));
}

TEST_CASE("a cursor moves over words and expected text") {
  constexpr bool ok = [] {
    cursor c("a: bcd  7x");
    if (!c.accept("a") || c.accept("b")) return false;
    c.expect(":");
    if (c.word() != "bcd") return false;
    if (c.number<int>() != 7 || c.at_word_end()) return false;
    return c.rest() == "x" && !c.failed() && !c.at_end();
  }();
  STATIC_REQUIRE(ok);
}

TEST_CASE("a failure stays, and everything after it is nothing") {
  constexpr bool ok = [] {
    cursor c("x 1 2");
    (void)c.number<int>();
    if (!c.failed()) return false;
    if (c.accept("x") || c.accept("") || c.number<int>() != 0 || !c.word().empty()) return false;
    return c.failed() && c.at_end();
  }();
  STATIC_REQUIRE(ok);
}

TEST_CASE("lines have to be whole") {
  std::string_view text = "one\n\nthree";
  CHECK(take_line(text).value() == "one");
  CHECK(take_line(text).value().empty());
  CHECK(take_line(text).error() == errc::end_of_input);
}

TEST_CASE("a line is found by its whole key") {
  constexpr std::string_view text =
      "Seccomp_filters:\t9\nXSeccomp:\t8\nSeccomp:\t2\nEmpty:\nTorn:\t1";
  STATIC_REQUIRE(line_of(text, "Seccomp").value() == "2");
  STATIC_REQUIRE(line_of(text, "Empty").value().empty());
  STATIC_REQUIRE(line_of(text, "Torn").error() == errc::end_of_input);
  STATIC_REQUIRE(line_of("A:\t1\n", "B").error() == errc::not_found);
  STATIC_REQUIRE(number_of<int>(text, "Seccomp").value() == 2);
  STATIC_REQUIRE(number_of<int>(text, "Empty").error() == errc::malformed);
  STATIC_REQUIRE(number_of<int>("A: 12x\n", "A").error() == errc::malformed);
  STATIC_REQUIRE(number_of<int>("A: 12 kB\n", "A").value() == 12);
}
