// SPDX-License-Identifier: MIT
//
// base/text.hpp: numbers and user-visible lines without a libc.
#include "ckpt/base/text.hpp"

#include <cerrno>
#include <limits>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;

namespace {

template <class... Parts>
std::string joined(const Parts&... parts) {
  fixed_text<256> text;
  (text.append(parts), ...);
  return std::string(text.view());
}

constexpr bool formats(auto part, std::string_view expected) {
  fixed_text<64> text;
  text.append(part);
  return text.view() == expected && !text.truncated();
}

}  // namespace

TEST_CASE("numbers are formatted to their limits") {
  STATIC_REQUIRE(formats(0, "0"));
  STATIC_REQUIRE(formats(-1, "-1"));
  STATIC_REQUIRE(formats(u8{255}, "255"));
  STATIC_REQUIRE(formats(std::numeric_limits<u64>::max(), "18446744073709551615"));
  STATIC_REQUIRE(formats(std::numeric_limits<i64>::max(), "9223372036854775807"));
  STATIC_REQUIRE(formats(std::numeric_limits<i64>::min(), "-9223372036854775808"));
  STATIC_REQUIRE(formats(std::numeric_limits<i32>::min(), "-2147483648"));
  STATIC_REQUIRE(formats(hex{0}, "0"));
  STATIC_REQUIRE(formats(hex{0xdeadbeef}, "deadbeef"));
  STATIC_REQUIRE(formats(hex{~u64{0}}, "ffffffffffffffff"));
  CHECK(joined(-12, ' ', hex{0xff}, " x") == "-12 ff x");
}

TEST_CASE("an address range looks as it does in /proc/PID/maps") {
  STATIC_REQUIRE(formats(address_range{0x7f0000, 0x7f1000}, "7f0000-7f1000"));
}

TEST_CASE("a hostile name cannot forge a line or move the cursor") {
  CHECK(joined(quoted{"a\nckpt: all is well"}) == "a\\012ckpt: all is well");
  CHECK(joined(quoted{"\x1b[2J\x7f\t"}) == "\\033[2J\\177\\011");
  CHECK(joined(quoted{std::string_view("\0", 1)}) == "\\000");
  CHECK(joined(quoted{"caf\xc3\xa9"}) == "caf\xc3\xa9");
}

TEST_CASE("an overlong text is cut, says so, and can still be terminated") {
  fixed_text<8> text;
  text.append("1234567");
  CHECK_FALSE(text.truncated());
  CHECK(text.view() == "1234567");
  text.append('8');
  CHECK(text.truncated());
  CHECK(text.view() == "1234567");
  CHECK(std::string(text.c_str()) == "1234567");
  text.clear();
  CHECK(text.empty());
}

TEST_CASE("errors are described in words, and by number where there are none") {
  CHECK(joined(errc::no_space) == "no space left on device");
  CHECK(joined(errc::checksum_mismatch) == "checksum mismatch");
  CHECK(joined(static_cast<errc>(77)) == "error 77");
  // The switch is written in numbers, because there is no errno.h below.
  CHECK(describe(static_cast<errc>(E2BIG)) == "argument list too long");
  CHECK(describe(static_cast<errc>(ENOEXEC)) == "exec format error");
  CHECK(describe(static_cast<errc>(EBADF)) == "bad file descriptor");
  CHECK(describe(static_cast<errc>(ENOTDIR)) == "not a directory");
  CHECK(describe(static_cast<errc>(EISDIR)) == "is a directory");
  CHECK(describe(static_cast<errc>(ENFILE)) == "too many open files in system");
  CHECK(describe(static_cast<errc>(EMFILE)) == "too many open files");
  CHECK(describe(static_cast<errc>(ETXTBSY)) == "text file busy");
  CHECK(describe(static_cast<errc>(EFBIG)).starts_with("file too large"));
  CHECK(describe(static_cast<errc>(EROFS)) == "read-only file system");
  CHECK(describe(static_cast<errc>(EPIPE)) == "broken pipe");
  CHECK(describe(static_cast<errc>(ENAMETOOLONG)) == "file name too long");
  CHECK(describe(static_cast<errc>(ELOOP)) == "too many levels of symbolic links");
  CHECK(describe(static_cast<errc>(EDQUOT)) == "disk quota exceeded");
}

TEST_CASE("the named errors are the libc's") {
  STATIC_REQUIRE(static_cast<int>(errc::perm) == EPERM);
  STATIC_REQUIRE(static_cast<int>(errc::no_entry) == ENOENT);
  STATIC_REQUIRE(static_cast<int>(errc::no_process) == ESRCH);
  STATIC_REQUIRE(static_cast<int>(errc::interrupted) == EINTR);
  STATIC_REQUIRE(static_cast<int>(errc::io) == EIO);
  STATIC_REQUIRE(static_cast<int>(errc::again) == EAGAIN);
  STATIC_REQUIRE(static_cast<int>(errc::no_memory) == ENOMEM);
  STATIC_REQUIRE(static_cast<int>(errc::access) == EACCES);
  STATIC_REQUIRE(static_cast<int>(errc::fault) == EFAULT);
  STATIC_REQUIRE(static_cast<int>(errc::busy) == EBUSY);
  STATIC_REQUIRE(static_cast<int>(errc::exists) == EEXIST);
  STATIC_REQUIRE(static_cast<int>(errc::invalid) == EINVAL);
  STATIC_REQUIRE(static_cast<int>(errc::no_space) == ENOSPC);
  STATIC_REQUIRE(static_cast<int>(errc::range) == ERANGE);
  STATIC_REQUIRE(static_cast<int>(errc::no_system_call) == ENOSYS);
}

TEST_CASE("a report holds one line, and the first explanation wins") {
  report why;
  CHECK(why.line().empty());
  CHECK(why.refuse("fd ", 7, " is a socket") == errc::refused);
  CHECK(why.line() == "fd 7 is a socket");
  CHECK(why.explain(errc::refused, "writing") == errc::refused);
  CHECK(why.line() == "fd 7 is a socket");
  CHECK(why.explain(errc::no_space, "writing ", quoted{"a.ckpt"}) == errc::refused);
  CHECK(why.line() == "writing a.ckpt: no space left on device");
  CHECK(why.refuse("again") == errc::refused);
  CHECK(why.line() == "again");
}

TEST_CASE("a refusal without a line gets the one it is explained by") {
  report why;
  CHECK(why.explain(errc::refused, "thread ", 4711) == errc::refused);
  CHECK(why.line() == "thread 4711: refused");
}

TEST_CASE("a number is the whole text or no number") {
  STATIC_REQUIRE(parse_number("0").value() == 0);
  STATIC_REQUIRE(parse_number("18446744073709551615").value() == ~u64{0});
  STATIC_REQUIRE(parse_number("fFfFfFfFfFfFfFfF", 16).value() == ~u64{0});
  STATIC_REQUIRE(parse_number("0755", 8).value() == 0755);
  STATIC_REQUIRE(parse_number("18446744073709551616").error() == errc::overflow);
  STATIC_REQUIRE(parse_number("10000000000000000", 16).error() == errc::overflow);
  STATIC_REQUIRE(parse_number("").error() == errc::malformed);
  STATIC_REQUIRE(parse_number("-1").error() == errc::malformed);
  STATIC_REQUIRE(parse_number(" 1").error() == errc::malformed);
  STATIC_REQUIRE(parse_number("1 ").error() == errc::malformed);
  STATIC_REQUIRE(parse_number("a").error() == errc::malformed);
  STATIC_REQUIRE(parse_number("8", 8).error() == errc::malformed);
}
