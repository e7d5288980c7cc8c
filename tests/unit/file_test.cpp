// SPDX-License-Identifier: MIT
//
// sys/file.hpp over a kernel that interrupts, cuts short, runs full and ends early.
#include "ckpt/sys/file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "support/catch.hpp"
#include "support/faulty_files.hpp"

using namespace ckpt;
using test::faulty_files;

namespace {

std::string pattern(std::size_t n) {
  std::string text(n, '\0');
  for (std::size_t i = 0; i < n; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

struct fault {
  u64 at_most;
  unsigned interrupt_every;
};

// Interrupting every call would never end; every second one is the worst a kernel does.
constexpr fault harmless[] = {{0, 0}, {1, 0}, {7, 0}, {0, 2}, {1, 2}, {7, 3}, {999, 2}};

faulty_files with(fault f, std::string content = {}) {
  faulty_files k(std::move(content));
  k.at_most = f.at_most;
  k.interrupt_every = f.interrupt_every;
  return k;
}

}  // namespace

TEST_CASE("everything is read whatever the kernel gives at a time") {
  const std::string text = pattern(1000);
  for (const fault f : harmless) {
    CAPTURE(f.at_most, f.interrupt_every);
    std::string got(1000, '?');
    faulty_files k = with(f, text);
    CHECK(sys::read_up_to(k, 0, std::as_writable_bytes(std::span(got))).value() == 1000);
    CHECK(got == text);

    got.assign(500, '?');
    faulty_files p = with(f, text);
    CHECK(sys::pread_up_to(p, 0, std::as_writable_bytes(std::span(got)), 300).value() == 500);
    CHECK(got == text.substr(300, 500));
  }
}

TEST_CASE("a read gives less only at the end of the file") {
  const std::string text = pattern(100);
  for (const fault f : harmless) {
    CAPTURE(f.at_most, f.interrupt_every);
    std::string got(1000, '?');
    faulty_files k = with(f, text);
    CHECK(sys::read_up_to(k, 0, std::as_writable_bytes(std::span(got))).value() == 100);
    CHECK(got.substr(0, 100) == text);
    faulty_files p = with(f, text);
    CHECK(sys::pread_up_to(p, 0, std::as_writable_bytes(std::span(got)), 90).value() == 10);
    CHECK(sys::pread_up_to(p, 0, std::as_writable_bytes(std::span(got)), 100).value() == 0);
    CHECK(sys::pread_up_to(p, 0, std::as_writable_bytes(std::span(got)), 5000).value() == 0);
  }
}

TEST_CASE("an error in the middle of a read is that error") {
  for (const u64 at : {0u, 1u, 99u}) {
    std::string got(100, '?');
    faulty_files k(pattern(100));
    k.fail_at = at;
    k.failure = errc::io;
    CHECK(sys::read_up_to(k, 0, std::as_writable_bytes(std::span(got))).error() == errc::io);
    CHECK(sys::pread_up_to(k, 0, std::as_writable_bytes(std::span(got)), 0).error() == errc::io);
  }
}

TEST_CASE("everything is written whatever the kernel takes at a time") {
  const std::string text = pattern(1000);
  for (const fault f : harmless) {
    CAPTURE(f.at_most, f.interrupt_every);
    faulty_files k = with(f);
    CHECK(sys::write_all(k, 0, bytes_of_text(text)).ok());
    CHECK(k.content() == text);
    faulty_files p = with(f);
    CHECK(sys::pwrite_all(p, 0, bytes_of_text(text), 50).ok());
    CHECK(p.content() == std::string(50, '\0') + text);
  }
}

TEST_CASE("a full disk at any byte is the error, not a short image") {
  const std::string text = pattern(64);
  for (u64 at = 0; at < 64; ++at) {
    faulty_files k;
    k.fail_at = at;
    k.failure = errc::no_space;
    k.at_most = 5;
    k.interrupt_every = 2;
    CHECK(sys::write_all(k, 0, bytes_of_text(text)).error() == errc::no_space);
    CHECK(k.content() == text.substr(0, at));
    faulty_files p;
    p.fail_at = at;
    p.failure = errc::no_space;
    CHECK(sys::pwrite_all(p, 0, bytes_of_text(text), 0).error() == errc::no_space);
  }
}

TEST_CASE("a kernel that takes nothing does not hang the writer") {
  faulty_files k;
  k.fail_at = 10;
  CHECK(sys::write_all(k, 0, bytes_of_text(pattern(64))).error() == errc::io);
  CHECK(sys::pwrite_all(k, 0, bytes_of_text(pattern(64)), 0).error() == errc::io);
}

TEST_CASE("nothing to do asks nothing of the kernel") {
  faulty_files k;
  CHECK(sys::write_all(k, 0, {}).ok());
  CHECK(sys::read_up_to(k, 0, {}).value() == 0);
  CHECK(k.calls() == 0);
}

TEST_CASE("no single call asks for more than one chunk") {
  const std::string text = pattern(3 * sys::io_chunk + 5);
  faulty_files k;
  REQUIRE(sys::write_all(k, 0, bytes_of_text(text)).ok());
  CHECK(k.largest_request() == sys::io_chunk);
  CHECK(k.calls() == 4);
  CHECK(k.content() == text);
  std::string got(text.size(), '?');
  faulty_files r(text);
  REQUIRE(sys::read_up_to(r, 0, std::as_writable_bytes(std::span(got))).value() == text.size());
  CHECK(r.largest_request() == sys::io_chunk);
  CHECK(got == text);
}

TEST_CASE("the real kernel writes and reads the same bytes") {
  char name[] = "/tmp/ckpt-file-test-XXXXXX";
  const int fd = mkstemp(name);
  REQUIRE(fd >= 0);
  unlink(name);
  sys::linux_files k;
  const std::string text = pattern(5000);
  CHECK(sys::write_all(k, fd, bytes_of_text(text)).ok());
  CHECK(sys::pwrite_all(k, fd, bytes_of_text("there"), 100).ok());
  std::string got(6000, '?');
  CHECK(sys::pread_up_to(k, fd, std::as_writable_bytes(std::span(got)), 0).value() == 5000);
  CHECK(got.substr(0, 5000) == text.substr(0, 100) + "there" + text.substr(105));
  CHECK(sys::read_up_to(k, fd, std::as_writable_bytes(std::span(got))).value() == 0);
  close(fd);
  CHECK(sys::write_all(k, -1, bytes_of_text(text)).error() == static_cast<errc>(EBADF));
}

TEST_CASE("a descriptor is closed once, by its last owner") {
  const auto is_open = [](int fd) { return fcntl(fd, F_GETFD) >= 0; };
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  {
    sys::unique_fd a(ends[0]);
    sys::unique_fd b(std::move(a));
    CHECK_FALSE(a);
    CHECK(b);
    CHECK(b.get() == ends[0]);
    sys::unique_fd c(ends[1]);
    c = std::move(b);
    CHECK_FALSE(is_open(ends[1]));
    CHECK(is_open(ends[0]));
  }
  CHECK_FALSE(is_open(ends[0]));

  REQUIRE(pipe(ends) == 0);
  {
    sys::unique_fd a(ends[0]);
    CHECK(a.release() == ends[0]);
  }
  CHECK(is_open(ends[0]));
  close(ends[0]);
  close(ends[1]);
}
