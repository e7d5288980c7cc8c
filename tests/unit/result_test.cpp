// SPDX-License-Identifier: MIT
//
// base/result.hpp: values, errors, early return, and the trap for reading the wrong half.
#include "ckpt/base/result.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <type_traits>

#include "support/catch.hpp"

using namespace ckpt;

namespace {

constexpr result<int> half(int n) {
  if (n % 2 != 0) return errc::invalid;
  return n / 2;
}

result<int> quarter(int n) {
  const int h = CKPT_TRY(half(n));
  return half(h);
}

result<void> must_be_even(int n) {
  (void)CKPT_TRY(half(n));
  return {};
}

// Whether f ends the process by a signal or a sanitizer rather than returning.
template <class F>
bool dies(F f) {
  const pid_t child = fork();
  if (child == 0) {
    close(2);
    f();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

}  // namespace

TEST_CASE("a result holds a value or an error") {
  STATIC_REQUIRE(half(4).ok());
  STATIC_REQUIRE(half(4).value() == 2);
  STATIC_REQUIRE(half(4).error() == errc::none);
  STATIC_REQUIRE(!half(3));
  STATIC_REQUIRE(half(3).error() == errc::invalid);
  STATIC_REQUIRE(half(3).value_or(7) == 7);
  STATIC_REQUIRE(half(4).value_or(7) == 2);

  result<int> r = half(6);
  *r += 1;
  CHECK(*r == 4);
  CHECK(r.value() == 4);
}

TEST_CASE("a result of nothing says only whether") {
  STATIC_REQUIRE(result<void>().ok());
  STATIC_REQUIRE(!result<void>(errc::io).ok());
  STATIC_REQUIRE(result<void>(errc::io).error() == errc::io);
}

TEST_CASE("members are reached through the arrow") {
  struct point {
    int x, y;
  };
  result<point> r = point{1, 2};
  r->x = 5;
  CHECK(r->x == 5);
  CHECK(std::as_const(r)->y == 2);
}

TEST_CASE("CKPT_TRY goes on with the value or returns the error") {
  CHECK(quarter(8).value() == 2);
  CHECK(quarter(7).error() == errc::invalid);
  CHECK(quarter(6).error() == errc::invalid);
  CHECK(must_be_even(2).ok());
  CHECK(must_be_even(1).error() == errc::invalid);
}

TEST_CASE("reading the wrong half traps") {
  CHECK_FALSE(dies([] { (void)half(4).value(); }));
  CHECK(dies([] { (void)half(3).value(); }));
  CHECK(dies([] { (void)*half(3); }));
  CHECK(dies([] { result<void>(errc::io).value(); }));
}

TEST_CASE("a result of a value cannot hold the error that is none") {
  CHECK(dies([] { (void)result<int>(errc::none); }));
}

TEST_CASE("only kernel errors are errno values") {
  STATIC_REQUIRE(is_errno(errc::no_entry));
  STATIC_REQUIRE(is_errno(static_cast<errc>(4095)));
  STATIC_REQUIRE(!is_errno(errc::none));
  STATIC_REQUIRE(!is_errno(errc::refused));
  STATIC_REQUIRE(!is_errno(errc::malformed));
}

TEST_CASE("results stay trivial, so they can cross code that never unwinds") {
  STATIC_REQUIRE(std::is_trivially_destructible_v<result<int>>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<result<int>>);
  STATIC_REQUIRE(std::is_trivially_copyable_v<result<void>>);
}
