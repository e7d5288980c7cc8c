// SPDX-License-Identifier: MIT
//
// proc/stat.hpp, on made-up lines and on this process's own.
#include "ckpt/proc/stat.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::proc;

namespace {

// Field n of proc(5) is 1000 + n, save for those that cannot be.
std::string line_with(const std::string& comm, int fields = 52) {
  std::string line = "1001 (" + comm + ") S";
  for (int n = 4; n <= fields; ++n) line += " " + std::to_string(1000 + n);
  return line + "\n";
}

std::string own_stat() {
  std::ifstream file("/proc/self/stat");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("every field is the one that proc(5) numbers so") {
  const std::string line = line_with("cat");
  const stat_fields f = parse_stat(line).value();
  CHECK(f.pid == 1001);
  CHECK(f.comm == "cat");
  CHECK(f.state == 'S');
  CHECK(f.ppid == 1004);
  CHECK(f.pgrp == 1005);
  CHECK(f.session == 1006);
  CHECK(f.tty_nr == 1007);
  CHECK(f.tpgid == 1008);
  CHECK(f.flags == 1009);
  CHECK(f.utime == 1014);
  CHECK(f.stime == 1015);
  CHECK(f.nice == 1019);
  CHECK(f.num_threads == 1020);
  CHECK(f.starttime == 1022);
  CHECK(f.start_code == 1026);
  CHECK(f.end_code == 1027);
  CHECK(f.start_stack == 1028);
  CHECK(f.start_data == 1045);
  CHECK(f.end_data == 1046);
  CHECK(f.start_brk == 1047);
  CHECK(f.arg_start == 1048);
  CHECK(f.arg_end == 1049);
  CHECK(f.env_start == 1050);
  CHECK(f.env_end == 1051);
  CHECK(f.exit_code == 1052);
}

TEST_CASE("a name may hold anything, even what looks like the rest of the line") {
  for (const std::string& comm :
       {std::string(), std::string(") S 1 1 1"), std::string("a b"), std::string("a\nb"),
        std::string("((("), std::string(")))"), std::string("x) R 4 5 6 (y")}) {
    const std::string line = line_with(comm);
    const auto f = parse_stat(line);
    REQUIRE(f.ok());
    CHECK(f->comm == comm);
    CHECK(f->ppid == 1004);
  }
}

TEST_CASE("negative numbers come where the kernel writes them") {
  constexpr std::string_view line =
      "1 (init) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 -20 1 0 9 10 11 18446744073709551615 12 13"
      " 14 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 15 16 17 18 19 20 21 -5\n";
  STATIC_REQUIRE(parse_stat(line).ok());
  STATIC_REQUIRE(parse_stat(line)->tpgid == -1);
  STATIC_REQUIRE(parse_stat(line)->nice == -20);
  STATIC_REQUIRE(parse_stat(line)->env_end == 21);
  STATIC_REQUIRE(parse_stat(line)->exit_code == -5);
}

TEST_CASE("fields of later kernels are passed over") {
  CHECK(parse_stat(line_with("x", 60))->exit_code == 1052);
}

TEST_CASE("a torn line is an error wherever it is torn") {
  const std::string line = line_with("a) b");
  for (std::size_t n = 0; n < line.size(); ++n) {
    CAPTURE(n);
    CHECK_FALSE(parse_stat(std::string_view(line).substr(0, n)).ok());
  }
  CHECK(parse_stat(line_with("x", 51)).error() == errc::malformed);
}

TEST_CASE("what is no stat line is malformed") {
  CHECK(parse_stat("\n").error() == errc::malformed);
  CHECK(parse_stat("1 (x\n").error() == errc::malformed);
  CHECK(parse_stat("1 x) S\n").error() == errc::malformed);
  CHECK(parse_stat("(x) S\n").error() == errc::malformed);
  CHECK(parse_stat(line_with("x") + "\n").error() == errc::malformed);
  CHECK(parse_stat(line_with("x") + "1 2\n").error() == errc::malformed);
  std::string line = line_with("x");
  line.replace(line.find("1030"), 1, "x");
  CHECK(parse_stat(line).ok());  // a field that nobody looks at
  line.replace(line.find("1047"), 1, "x");
  CHECK(parse_stat(line).error() == errc::malformed);
}

TEST_CASE("this process's own line is about this process") {
  char old[16];
  REQUIRE(prctl(PR_GET_NAME, old) == 0);
  REQUIRE(prctl(PR_SET_NAME, ") 1\n(x") == 0);
  const std::string text = own_stat();
  prctl(PR_SET_NAME, old);
  const stat_fields f = parse_stat(text).value();
  CHECK(f.pid == getpid());
  CHECK(f.comm == ") 1\n(x");
  CHECK(f.state == 'R');
  CHECK(f.ppid == getppid());
  CHECK(f.pgrp == getpgrp());
  CHECK(f.session == getsid(0));
  CHECK(f.num_threads >= 1);
  const u64 code = reinterpret_cast<u64>(&own_stat);
  CHECK((f.start_code <= code && code < f.end_code));
  const u64 variable = reinterpret_cast<u64>(environ[0]);
  CHECK((f.env_start <= variable && variable < f.env_end));
  CHECK(f.arg_end <= f.env_start);
  CHECK(f.start_stack < f.arg_start);
}
