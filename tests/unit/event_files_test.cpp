// SPDX-License-Identifier: MIT
//
// state/files/event_files.hpp, on descriptors of this process: what is captured and made anew
// behaves as the first did.
#include "ckpt/state/files/event_files.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

#include "ckpt/sys/file.hpp"
#include "support/catch.hpp"

namespace ckpt::state {
namespace {

std::string info_of(int fd) {
  std::ifstream file("/proc/self/fdinfo/" + std::to_string(fd));
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}
u64 taken(int fd) {
  u64 value = 0;
  return ::read(fd, &value, sizeof value) == sizeof value ? value : ~u64{0};
}

TEST_CASE("a semaphore is told from a counter, and keeps its count, whatever it is") {
  for (const u64 count : {u64{0}, u64{1}, u64{2}, u64{7}, ~u64{0} - 1})
    for (const bool semaphore : {false, true}) {
      INFO(count << (semaphore ? " semaphore" : ""));
      const sys::unique_fd fd(::eventfd(0, EFD_NONBLOCK | (semaphore ? EFD_SEMAPHORE : 0)));
      if (count != 0) REQUIRE(::write(fd.get(), &count, sizeof count) == sizeof count);
      const auto found = is_semaphore(fd.get(), count);
      REQUIRE(found.ok());
      CHECK(*found == semaphore);
      const auto seen = capture_eventfd(fd.get(), info_of(fd.get()));
      REQUIRE(seen.ok());
      CHECK(seen->count == count);
      const sys::unique_fd again(*make_eventfd(*seen));
      const auto same = capture_eventfd(again.get(), info_of(again.get()));
      CHECK(same->count == count);
      CHECK(same->semaphore == (semaphore ? 1u : 0u));
    }
}

TEST_CASE("a timer's expirations that nobody has read are counted and come back") {
  const sys::unique_fd fd(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
  const itimerspec often{{0, 2'000'000}, {0, 2'000'000}};
  REQUIRE(::timerfd_settime(fd.get(), 0, &often, nullptr) == 0);
  ::usleep(21'000);
  std::string text;
  const auto seen = capture_timerfd(fd.get(), [&]() -> result<std::string_view> {
    text = info_of(fd.get());
    return std::string_view(text);
  });
  REQUIRE(seen.ok());
  CHECK(seen->ticks >= 10);
  CHECK(seen->interval_ns == 2'000'000);
  CHECK(seen->due_ns > 0);
  CHECK(seen->due_ns <= 2'000'000);
  auto slow = *seen;
  slow.interval_ns = 3'600'000'000'000;
  slow.due_ns = 1'800'000'000'000;
  const sys::unique_fd again(*make_timerfd(slow));
  REQUIRE(start_timerfd(again.get(), slow).ok());
  pollfd p{again.get(), POLLIN, 0};
  CHECK(::poll(&p, 1, 1000) == 1);
  CHECK(taken(again.get()) == slow.ticks);
  itimerspec now{};
  ::timerfd_gettime(again.get(), &now);
  CHECK(now.it_value.tv_sec >= 1799);
  CHECK(now.it_value.tv_sec <= 1800);
}

TEST_CASE("a time of day that has passed expires at once, and its ticks are not lost") {
  timer_file t{};
  t.clock = CLOCK_REALTIME;
  t.settime_flags = u32{TFD_TIMER_ABSTIME};
  t.due_ns = 1;
  t.due_at_ns = event_detail::now_of(CLOCK_REALTIME) - 5'000'000'000;
  t.interval_ns = 3'000'000'000;
  t.ticks = 4u;
  const sys::unique_fd fd(*make_timerfd(t));
  REQUIRE(start_timerfd(fd.get(), t).ok());
  pollfd p{fd.get(), POLLIN, 0};
  CHECK(::poll(&p, 1, 1000) == 1);
  CHECK(taken(fd.get()) == 6);  // four, at -5 s and at -2 s
}

}  // namespace
}  // namespace ckpt::state
