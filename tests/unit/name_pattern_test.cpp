// SPDX-License-Identifier: MIT
//
// options/name_pattern.hpp: what an image may be called, and what the letters become.
#include "ckpt/options/name_pattern.hpp"

#include <ctime>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::options;

namespace {

constexpr bool good(std::string_view name) {
  fixed_text<300> why;
  return may_be_name(name, why) && why.empty();
}
std::string fault(std::string_view name) {
  fixed_text<300> why;
  REQUIRE_FALSE(may_be_name(name, why));
  return std::string(why.view());
}

constexpr name_facts facts{"4711", 12, 1'769'903'999, "node-7"};

constexpr bool expands(std::string_view pattern, std::string_view wanted, name_facts f = facts) {
  fixed_text<128> out;
  return expand_name(pattern, f, out).ok() && out.view() == wanted;
}

}  // namespace

TEST_CASE("names of files, with and without letters") {
  STATIC_REQUIRE(good("a"));
  STATIC_REQUIRE(good("/a/b.ckpt"));
  STATIC_REQUIRE(good("file://a"));
  STATIC_REQUIRE(good("file:///a/b"));
  STATIC_REQUIRE(good("a:b//c"));
  STATIC_REQUIRE(good("%p%n%t%h%%"));
  STATIC_REQUIRE(good("100%%"));
  CHECK(good(std::string(longest_name, 'x')));
}

TEST_CASE("names of images elsewhere") {
  STATIC_REQUIRE(good("cssrv://host/x"));
  STATIC_REQUIRE(good("cssrvs://host:1/a/b%p"));
  STATIC_REQUIRE(good("exec:gzip -c > /x/"));
}

TEST_CASE("what is no name is told with the reason") {
  CHECK(fault("") == "has 0 characters; it may have 1 to 1023");
  CHECK(fault(std::string(1024, 'x')) == "has 1024 characters; it may have 1 to 1023");
  CHECK(fault("file://" + std::string(1017, 'x')) == "has 1024 characters; it may have 1 to 1023");
  CHECK_FALSE(good("file://"));
  CHECK(fault("http://host/x").find("does not know") != std::string::npos);
  CHECK(fault("cssrv://host").find("no host") != std::string::npos);
  CHECK(fault("cssrv:///x").find("no host") != std::string::npos);
  CHECK(fault("exec:").find("directory") != std::string::npos);
  CHECK(fault("cssrv://host/").find("directory") != std::string::npos);
  CHECK(fault("there/").find("directory") != std::string::npos);
  CHECK(fault("file:///").find("directory") != std::string::npos);
  CHECK(fault("a%qb").find("%q") != std::string::npos);
  CHECK(fault("a%P").find("%P") != std::string::npos);
  CHECK(fault("a%").find("has %, which") != std::string::npos);
  CHECK(fault("a%%%").find("has %, which") != std::string::npos);
  CHECK(fault("a%\n").find("%\\012") != std::string::npos);
}

TEST_CASE("each letter becomes what it stands for") {
  STATIC_REQUIRE(expands("plain", "plain"));
  STATIC_REQUIRE(expands("%p", "4711"));
  STATIC_REQUIRE(expands("a.%n", "a.12"));
  STATIC_REQUIRE(expands("%h-%p-%n.ckpt", "node-7-4711-12.ckpt"));
  STATIC_REQUIRE(expands("%%p%%", "%p%"));
  STATIC_REQUIRE(expands("%t", "20260131T235959Z"));
  STATIC_REQUIRE(expands("%h", "a_b", {"1", 1, 0, "a/b"}));
}

TEST_CASE("times are those of gmtime") {
  for (std::time_t t = 0; t < 8'000'000'000; t += 86'399 * 13 + 7) {
    char wanted[32];
    std::strftime(wanted, sizeof wanted, "%Y%m%dT%H%M%SZ", std::gmtime(&t));
    fixed_text<64> out;
    REQUIRE(expand_name("%t", {"", 0, t, ""}, out).ok());
    REQUIRE(out.view() == wanted);
  }
  STATIC_REQUIRE(expands("%t", "20240229T000000Z", {"", 0, 1'709'164'800, ""}));
  STATIC_REQUIRE(expands("%t", "19700101T000000Z", {"", 0, -5, ""}));
}

TEST_CASE("what is too long or malformed is an error, not another name") {
  fixed_text<8> small;
  CHECK(expand_name("%p", facts, small).ok());
  CHECK(expand_name("1234567", facts, small).ok());
  CHECK(expand_name("12345678", facts, small).error() == errc::buffer_too_small);
  fixed_text<64> out;
  CHECK(expand_name("a%", facts, out).error() == errc::malformed);
  CHECK(expand_name("a%q", facts, out).error() == errc::malformed);
}

TEST_CASE("a directory's name stands for itself") {
  fixed_text<64> pattern;
  append_literally(pattern, "/50%/%p/");
  pattern.append("%p");
  fixed_text<64> out;
  REQUIRE(expand_name(pattern.view(), facts, out).ok());
  CHECK(out.view() == "/50%/%p/4711");
}

TEST_CASE("which patterns tell processes apart") {
  STATIC_REQUIRE(names_process("a%p"));
  STATIC_REQUIRE(names_process("%%%p"));
  STATIC_REQUIRE_FALSE(names_process("%%p"));
  STATIC_REQUIRE_FALSE(names_process("%n%t"));
  STATIC_REQUIRE_FALSE(names_process("%"));
}
