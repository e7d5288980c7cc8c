// SPDX-License-Identifier: MIT
//
// The parser of /proc/PID/timers, on the kernel's text and on text that lost something.
#include "ckpt/proc/timers.hpp"

#include <csignal>
#include <ctime>
#include <fstream>
#include <sstream>

#include "support/catch.hpp"

namespace ckpt::proc {
namespace {

constexpr std::string_view two =
    "ID: 1\nsignal: 60/00007fff86e452a8\nnotify: signal/pid.2634\nClockID: 0\n"
    "ID: 0\nsignal: 34/0000000000000007\nnotify: none/tid.77\nClockID: -6\n";

TEST_CASE("each timer is taken off the front") {
  std::string_view text = two;
  const auto first = take_posix_timer(text);
  REQUIRE(first.ok());
  CHECK(*first == posix_timer{1, 60, 0x7fff86e452a8, 0, false, 2634, 0});
  const auto second = take_posix_timer(text);
  REQUIRE(second.ok());
  CHECK(*second == posix_timer{0, 34, 7, 1, true, 77, -6});
  CHECK(text.empty());
  CHECK(take_posix_timer(text).error() == errc::end_of_input);
}

TEST_CASE("a line of a later kernel is passed over") {
  std::string_view text = "ID: 1\nsignal: 1/2\nslack: 5\nnotify: thread/pid.1\nClockID: 1\n";
  const auto t = take_posix_timer(text);
  REQUIRE(t.ok());
  CHECK(t->notify == 2);
}

TEST_CASE("no text that lost its end passes for a whole one") {
  const std::size_t first = two.find("ID: 0");
  for (std::size_t n = 0; n < first; ++n) {
    std::string_view text = two.substr(0, n);
    INFO(text);
    CHECK_FALSE(take_posix_timer(text).ok());
  }
}

TEST_CASE("what is no number or no word of the kernel's is malformed") {
  for (std::string_view text : {"ID: x\nsignal: 1/2\nnotify: none/pid.1\nClockID: 1\n",
                                "ID: 1\nsignal: 1:2\nnotify: none/pid.1\nClockID: 1\n",
                                "ID: 1\nsignal: 1/2\nnotify: carrier/pid.1\nClockID: 1\n",
                                "ID: 1\nsignal: 1/2\nnotify: none/uid.1\nClockID: 1\n",
                                "ID: 1\nsignal: 1/2\nnotify: none/pid.1 \nClockID: 1\n",
                                "ID: 1\nsignal: 1/2\nnotify: none/pid.1\nClockID: 99999999999\n"})
    CHECK(take_posix_timer(text).error() == errc::malformed);
}

TEST_CASE("the kernel's own text") {
  std::ifstream file("/proc/self/timers");
  if (!file) return;  // built without CONFIG_CHECKPOINT_RESTORE
  ::sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(0x1234567890);
  ::timer_t timer{};
  REQUIRE(::timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
  std::stringstream content;
  content << std::ifstream("/proc/self/timers").rdbuf();
  const std::string whole = content.str();
  std::string_view text = whole;
  const auto t = take_posix_timer(text);
  REQUIRE(t.ok());
  CHECK(t->signal == SIGRTMIN);
  CHECK(t->value == 0x1234567890);
  CHECK(t->clock == CLOCK_MONOTONIC);
  ::timer_delete(timer);
}

}  // namespace
}  // namespace ckpt::proc
