// SPDX-License-Identifier: MIT
//
// proc/status.hpp, on a made-up file and on this process's own.
#include "ckpt/proc/status.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::proc;

namespace {

constexpr std::string_view example =
    "Name:\tgawk\n"
    "Umask:\t0027\n"
    "State:\tS (sleeping)\n"
    "Tgid:\t4711\n"
    "TracerPid:\t99\n"
    "Uid:\t1000\t1000\t1000\t1000\n"
    "NSpid:\t4711\t12\t1\n"
    "Threads:\t3\n"
    "SigQ:\t1/7823\n"
    "SigPnd:\t0000000000000001\n"
    "ShdPnd:\t8000000000000000\n"
    "SigBlk:\t0000000000010000\n"
    "SigIgn:\t0000000000001000\n"
    "SigCgt:\t00000001800004ec\n"
    "Seccomp:\t2\n"
    "Seccomp_filters:\t1\n";

std::string own_status() {
  std::ifstream file("/proc/thread-self/status");
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("each line is read in its own base") {
  STATIC_REQUIRE(status_field(example, "State").value() == "S (sleeping)");
  STATIC_REQUIRE(status_field(example, "Uid").value() == "1000\t1000\t1000\t1000");
  STATIC_REQUIRE(status_process(example).value() == 4711);
  STATIC_REQUIRE(status_umask(example).value() == 027);
  STATIC_REQUIRE(status_tracer(example).value() == 99);
  STATIC_REQUIRE(status_threads(example).value() == 3);
  STATIC_REQUIRE(status_seccomp(example).value() == 2);
  STATIC_REQUIRE(status_pending(example).value() == 1);
  STATIC_REQUIRE(status_shared_pending(example).value() == u64{1} << 63);
  STATIC_REQUIRE(status_blocked(example).value() == 0x10000);
  STATIC_REQUIRE(status_ignored(example).value() == 0x1000);
  STATIC_REQUIRE(status_caught(example).value() == 0x1800004ec);
}

TEST_CASE("the innermost pid is the last of NSpid") {
  STATIC_REQUIRE(status_innermost_pid(example).value() == 1);
  STATIC_REQUIRE(status_innermost_pid("NSpid:\t7\n").value() == 7);
  STATIC_REQUIRE(status_innermost_pid("NSpid:\t7\t8 \n").value() == 8);
  STATIC_REQUIRE(status_innermost_pid("NSpid:\t\n").error() == errc::malformed);
  STATIC_REQUIRE(status_innermost_pid("NSpid:\t7 x\n").error() == errc::malformed);
  STATIC_REQUIRE(status_innermost_pid("Name:\tx\n").error() == errc::not_found);
}

TEST_CASE("a kernel without seccomp is not an error of the file") {
  STATIC_REQUIRE(status_seccomp("Name:\tx\nThreads:\t1\n").error() == errc::not_found);
  STATIC_REQUIRE(status_seccomp("Name:\tx\nSeccomp:\t0").error() == errc::end_of_input);
}

TEST_CASE("this process's own file agrees with what the calls say") {
  char old_name[16];
  REQUIRE(prctl(PR_GET_NAME, old_name) == 0);
  REQUIRE(prctl(PR_SET_NAME, "x\nUmask:\t0666") == 0);
  const mode_t old_mask = umask(031);
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR2);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  raise(SIGUSR2);
  kill(getpid(), SIGUSR2);

  const std::string text = own_status();

  const timespec now{};
  while (sigtimedwait(&blocked, nullptr, &now) > 0) {
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  umask(old_mask);
  prctl(PR_SET_NAME, old_name);

  const u64 usr2 = u64{1} << (SIGUSR2 - 1);
  CHECK(status_umask(text).value() == 031);
  CHECK((status_blocked(text).value() & usr2) != 0);
  CHECK((status_pending(text).value() & usr2) != 0);
  CHECK((status_shared_pending(text).value() & usr2) != 0);
  CHECK(status_threads(text).value() >= 1);
  CHECK(status_innermost_pid(text).value() == getpid());
  CHECK(status_tracer(text).ok());
}
