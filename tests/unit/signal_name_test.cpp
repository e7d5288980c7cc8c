// SPDX-License-Identifier: MIT
//
// options/signal_name.hpp: signals by any spelling.
#include "ckpt/options/signal_name.hpp"

#include <csignal>
#include <cstring>
#include <string>

#include "support/catch.hpp"

using namespace ckpt;
using namespace ckpt::options;

TEST_CASE("every spelling of one signal") {
  for (const char* text : {"SIGUSR2", "USR2", "usr2", "sigusr2", "SigUsr2", "12"})
    CHECK(parse_signal(text).value_or(-1) == SIGUSR2);
  CHECK(parse_signal("0").value_or(-1) == 0);
  CHECK(parse_signal("POLL").value_or(-1) == SIGIO);
  CHECK(parse_signal("CLD").value_or(-1) == SIGCHLD);
}

TEST_CASE("the names are the system's") {
  for (int signal = 1; signal < 32; ++signal) {
    const auto parsed = parse_signal(sigabbrev_np(signal));
    if (parsed.ok())
      CHECK(*parsed == signal);
    else
      CHECK(parsed.error() == errc::access);
  }
}

TEST_CASE("real-time signals count as the C library does") {
  CHECK(parse_signal("RTMIN").value_or(-1) == SIGRTMIN);
  CHECK(parse_signal("SIGRTMIN+3").value_or(-1) == SIGRTMIN + 3);
  CHECK(parse_signal("rtmax-1").value_or(-1) == SIGRTMAX - 1);
  CHECK(parse_signal("RTMIN+30").value_or(-1) == SIGRTMAX);
  for (const char* text : {"RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+", "RTMINX", "32", "33", "65"})
    CHECK(parse_signal(text).error() == errc::invalid);
}

TEST_CASE("what cannot be a trigger is told from what is no signal") {
  for (const char* text : {"KILL", "STOP", "9", "19", "SEGV", "BUS", "FPE", "ILL", "TRAP", "11"})
    CHECK(parse_signal(text).error() == errc::access);
  for (const char* text : {"", "SIG", "FROB", "SIGSIGUSR2", "-1", "1x", " 12", "99999999999999999999"})
    CHECK(parse_signal(text).error() == errc::invalid);
}
