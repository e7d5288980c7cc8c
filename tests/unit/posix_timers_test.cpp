// SPDX-License-Identifier: MIT
//
// Timers of timer_create come back with their ids, overruns and what waits; each case in a child,
// whose timers nobody else has.
#include "ckpt/state/posix_timers.hpp"

#include <unistd.h>

#include <csignal>
#include <ctime>

#include "support/catch.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

constexpr i64 second = 1'000'000'000;

void block_everything() {
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_BLOCK, &all, nullptr);
}

posix_timer timer(i32 id) {
  posix_timer t{};
  t.id = id;
  t.clock = CLOCK_MONOTONIC;
  t.signal = SIGRTMIN + 3;
  t.value = u64{77};
  return t;
}

i64 uptime() {
  ::timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * second + now.tv_nsec;
}

TEST_CASE("a timer gets the id it had, also a lower one than the last") {
  CHECK(test::in_child([] {
          for (const i32 id : {5, 9, 17})
            if (!create_posix_timer(timer(id)).ok()) return 1;
          sys::abi::itimerspec now{};
          if (!sys::timer_gettime(9, now).ok() || sys::timer_gettime(6, now).ok()) return 2;
          // Taken: somebody else has it.
          return create_posix_timer(timer(9)).ok() ? 3 : 0;
        }) == 0);
}

TEST_CASE("a running timer has its remaining time, interval and overrun") {
  CHECK(test::in_child([] {
          block_everything();
          posix_timer t = timer(2);
          t.interval_ns = uptime() / 10;
          t.due_ns = t.interval_ns / 2;
          t.overrun = 4;
          t.state = timer_running;
          if (!create_posix_timer(t).ok() || !start_posix_timer(t).ok()) return 1;
          if (sys::timer_getoverrun(2).value() != 4) return 2;
          sys::abi::itimerspec now{};
          if (!sys::timer_gettime(2, now).ok()) return 3;
          const i64 left = now.it_value.tv_sec * second + now.it_value.tv_nsec;
          if (left > t.due_ns || left < t.due_ns - second) return 4;
          u64 pending = 0;
          (void)sys::rt_sigpending(pending);
          return pending == 0 ? 0 : 5;
        }) == 0);
}

TEST_CASE(
    "an overrun that is older than the machine is an error, and the timer runs all the same") {
  CHECK(test::in_child([] {
          block_everything();
          posix_timer t = timer(2);
          t.interval_ns = uptime();
          t.due_ns = 1000 * second;
          t.interval_ns = t.interval_ns + 2000 * second;
          t.overrun = 1000;
          t.state = timer_running;
          if (!create_posix_timer(t).ok() || start_posix_timer(t).ok()) return 1;
          sys::abi::itimerspec now{};
          if (!sys::timer_gettime(2, now).ok()) return 2;
          return now.it_value.tv_sec > 900 && now.it_value.tv_sec <= 1000 ? 0 : 3;
        }) == 0);
}

TEST_CASE("a signal that waited waits again, with the expirations behind it") {
  CHECK(test::in_child([] {
          block_everything();
          posix_timer t = timer(0);
          t.interval_ns = uptime() / 10;
          t.due_ns = -3 * t.interval_ns + t.interval_ns / 2;
          t.state = timer_signal_pending;
          if (!create_posix_timer(t).ok() || !start_posix_timer(t).ok()) return 1;
          int outcome = 2;
          const auto note = [&](const sys::abi::siginfo& info) {
            outcome = is_from_timer(info) && timer_id_of(info) == 0 ? 0 : 3;
            if (overrun_of(info) != 2) outcome = 4;
          };
          take_signals(t.signal, 1, note, {});
          return outcome;
        }) == 0);
}

TEST_CASE("what is queued after the signal of a timer comes behind it") {
  CHECK(test::in_child([] {
          block_everything();
          for (i32 i = 0; i < 3000; ++i) {
            posix_timer t = timer(i);
            t.interval_ns = i % 2 != 0 ? i64{0} : second;
            t.due_ns = i % 2 != 0 ? i64{-1} : -second;
            t.state = timer_signal_pending;
            if (!create_posix_timer(t).ok() || !start_posix_timer(t).ok()) return 1;
            if (::sigqueue(::getpid(), t.signal, sigval{.sival_int = 5}) != 0) return 2;
            int timers_place = 0, place = 0;
            const auto note = [&](const sys::abi::siginfo& info) {
              ++place;
              if (is_from_timer(info)) timers_place = place;
            };
            take_signals(t.signal, 2, note, {});
            if (place != 2 || timers_place != 1) return 3;
            if (!sys::timer_delete(i).ok()) return 4;
          }
          return 0;
        }) == 0);
}

TEST_CASE("a timer that fires again while its signal is taken keeps no place in the queue") {
  CHECK(test::in_child([] {
          block_everything();
          posix_timer t = timer(0);
          if (!create_posix_timer(t).ok()) return 1;
          const auto queue = [&](int value) {
            return ::sigqueue(::getpid(), t.signal, sigval{.sival_int = value}) == 0;
          };
          const ::timespec later{0, 20'000'000};
          if (!queue(1) || !sys::timer_settime(0, 0, {{0, 1'000'000}, {0, 1}}).ok()) return 2;
          ::nanosleep(&later, nullptr);
          if (!queue(2)) return 3;
          sys::abi::siginfo late[4]{};
          const auto stop_late = [&](const sys::abi::siginfo& info) {
            if (!is_from_timer(info)) return;
            ::nanosleep(&later, nullptr);
            queue(3);  // somebody else's, and it stays the last
            (void)sys::timer_settime(0, 0, {{0, 0}, {0, 0}});
          };
          if (take_signals(t.signal, 3, stop_late, late) != 1) return 4;
          t.interval_ns = second;
          t.due_ns = -second / 2;
          t.state = timer_signal_pending;
          if (!queue(1) || !start_posix_timer(t).ok() || !queue(2)) return 5;
          if (!put_back(late[0], t.signal, ::getpid(), ::gettid()).ok()) return 6;
          int order = 0;
          const auto note = [&](const sys::abi::siginfo& info) {
            i32 value = 0;
            std::memcpy(&value, info.fields + 8, sizeof value);
            order = order * 10 + (is_from_timer(info) ? 9 : value);
          };
          take_signals(t.signal, 10, note, {});
          return order == 1923 ? 0 : 7;
        }) == 0);
}

TEST_CASE("what is taken is noted: a periodic timer is due since its first expiration") {
  captured_timer t{timer(0), 5000};
  t.record.interval_ns = 100;
  t.record.due_ns = 40;
  sys::abi::siginfo info{};
  info.si_code = sys::abi::si_timer;
  const i32 fields[] = {0, 2};
  std::memcpy(info.fields, fields, sizeof fields);
  const auto due_when_taken_at = [&](i64 now) {
    auto each = t;
    note_pending(each, info, now);
    CHECK(each.record.state == timer_signal_pending);
    return each.record.due_ns.get();
  };
  CHECK(due_when_taken_at(5039) == 40 - 300);
  // One of the three has come since the timer was looked at.
  CHECK(due_when_taken_at(5040) == 40 - 200);
  CHECK(due_when_taken_at(5140) == 40 - 100);
  CHECK(due_when_taken_at(9000) == 40 - 100);
  captured_timer once{timer(1), 5000};
  note_pending(once, info, 5000);
  CHECK(once.record.due_ns < 0);
}

TEST_CASE("clocks of processor time are those of the process and thread as they are numbered now") {
  const auto renumber = [](i32 n) { return n == 100 ? 200 : n; };
  CHECK(present_clock(CLOCK_MONOTONIC, renumber) == CLOCK_MONOTONIC);
  CHECK(present_clock(-6, renumber) == -6);  // the process itself, without a number
  CHECK(present_clock((~100 << 3) | 2, renumber) == ((~200 << 3) | 2));
  CHECK(present_clock((~100 << 3) | 6, renumber) == ((~200 << 3) | 6));
  CHECK(present_clock((~101 << 3) | 2, renumber) == ((~101 << 3) | 2));
}

}  // namespace
}  // namespace ckpt::state
