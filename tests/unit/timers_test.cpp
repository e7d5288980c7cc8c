// SPDX-License-Identifier: MIT
//
// Armed timers are captured with what remains of them and run on from there.
#include "ckpt/state/timers.hpp"

#include <signal.h>
#include <sys/time.h>

#include <map>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

std::map<u32, interval_timer> captured() {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  test::must(capture_timers(out));
  std::map<u32, interval_timer> timers;
  for (format::record_cursor cursor(out.view()); !cursor.done();) {
    const auto t = *wire::decode<interval_timer>(cursor.next()->fixed);
    timers[t.which] = t;
  }
  return timers;
}

TEST_CASE("a process without timers has no record of them") {
  CHECK(test::in_child([] { return static_cast<int>(captured().size()); }) == 0);
}

TEST_CASE("only armed timers are captured, with their interval") {
  CHECK(test::in_child([] {
          const ::itimerval real{{7, 250'000}, {1000, 0}};
          ::setitimer(ITIMER_REAL, &real, nullptr);
          const ::itimerval profile{{0, 0}, {500, 0}};
          ::setitimer(ITIMER_PROF, &profile, nullptr);
          auto timers = captured();
          if (timers.size() != 2 || timers.count(1) != 0) return 1;
          if (timers[0].interval_us != 7'250'000) return 2;
          const i64 left = timers[0].value_us;
          if (left > 1000'000'000 || left < 990'000'000) return 3;
          if (timers[2].interval_us != 0) return 4;
          return 0;
        }) == 0);
}

TEST_CASE("a restored timer is the one that was saved") {
  CHECK(test::in_child([] {
          interval_timer t{};
          t.which = u32{ITIMER_VIRTUAL};
          t.value_us = 123'456'789;
          t.interval_us = 5'000'001;
          if (!restore_timer(t).ok()) return 1;
          ::itimerval now{};
          ::getitimer(ITIMER_VIRTUAL, &now);
          if (now.it_interval.tv_sec != 5 || now.it_interval.tv_usec != 1) return 2;
          // The kernel rounds to its tick and adds one.
          return now.it_value.tv_sec == 123 ? 0 : 3;
        }) == 0);
}

int alarms_captured(u64 looked_at) {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  test::must(capture_timers(out, looked_at));
  int alarms = 0;
  for (format::record_cursor cursor(out.view()); !cursor.done();) {
    const auto p = *wire::decode<pending_signal>(cursor.next()->fixed);
    alarms += p.signal == SIGALRM ? 1 : 100;
  }
  return alarms;
}

TEST_CASE("a timer that has fired since the pending signals were looked at is not lost") {
  CHECK(test::in_child([] {
          sigset_t all;
          sigfillset(&all);
          sigprocmask(SIG_SETMASK, &all, nullptr);
          const ::itimerval soon{{0, 0}, {0, 1}};
          ::setitimer(ITIMER_REAL, &soon, nullptr);
          u64 pending = 0;
          while (pending == 0) test::must(sys::rt_sigpending(pending));
          if (alarms_captured(0) != 1) return 1;
          return alarms_captured(pending) == 0 ? 0 : 2;
        }) == 0);
}

TEST_CASE("a timer that does not exist is an error") {
  interval_timer t{};
  t.which = 3u;
  CHECK(restore_timer(t).error() == errc::invalid);
}

}  // namespace
}  // namespace ckpt::state
