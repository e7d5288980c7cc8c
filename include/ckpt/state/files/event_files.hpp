// SPDX-License-Identifier: MIT
//
// The descriptors that stand for an event: eventfd(2), timerfd_create(2), signalfd(2). A timer
// stands still between checkpoint and restart, as all timers do; only one that was set to a time of
// day goes off at that time of day.
#pragma once

#include "ckpt/format/record.hpp"
#include "ckpt/proc/fdinfo.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct event_counter {
  static constexpr auto record = format::record_type::event_counter;
  wire::le<u32> open_file;
  wire::le<u32> semaphore;
  wire::le<u64> count;
};

struct timer_file {
  static constexpr auto record = format::record_type::timer_file;
  wire::le<u32> open_file;
  wire::le<i32> clock;
  wire::le<u32> settime_flags;
  wire::reserved<4> reserved;
  wire::le<i64> due_ns;
  wire::le<i64> due_at_ns;
  wire::le<i64> interval_ns;
  wire::le<u64> ticks;
};

struct signal_file {
  static constexpr auto record = format::record_type::signal_file;
  wire::le<u32> open_file;
  wire::reserved<4> reserved;
  wire::le<u64> mask;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::event_counter, open_file, semaphore, count);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::timer_file, open_file, clock, settime_flags, reserved, due_ns,
                        due_at_ns, interval_ns, ticks);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::signal_file, open_file, reserved, mask);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::event_counter> =
    description<3>{"event_counter",
                   "What an eventfd(2) counts.",
                   {"id of its open_file", "EFD_SEMAPHORE 1", "the count"}};
template <>
inline constexpr auto describe<state::timer_file> = description<8>{
    "timer_file",
    "The timer of a timerfd_create(2).",
    {"id of its open_file", "clockid_t", "TFD_TIMER_* as timerfd_settime(2) had them", "zero",
     "nanoseconds until it expires, 0 for never",
     "for a time of day the nanoseconds since 1970 when it expires, otherwise 0",
     "nanoseconds between expirations, 0 for none", "expirations that have not been read"}};
template <>
inline constexpr auto describe<state::signal_file> = description<3>{
    "signal_file", "What a signalfd(2) accepts.", {"id of its open_file", "zero", "its mask"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<event_counter, 16>());
static_assert(wire::laid_out_in<timer_file, 48>());
static_assert(wire::laid_out_in<signal_file, 16>());

namespace event_detail {

constexpr i64 second = 1'000'000'000;
inline sys::abi::timespec timespec_of(i64 ns) {
  return {ns / second, ns % second};
}
inline i64 now_of(i32 clock) {
  sys::abi::timespec t{};
  if (!sys::clock_gettime(clock, t).ok()) return 0;
  return t.tv_sec * second + t.tv_nsec;
}
/// Set to a time of day, which goes on while nothing runs.
inline bool is_time_of_day(i32 clock, u32 settime_flags) {
  return (settime_flags & u32{sys::abi::tfd_timer_abstime}) != 0 &&
         (clock == sys::abi::clock_realtime || clock == sys::abi::clock_realtime_alarm);
}

}  // namespace event_detail

/// A semaphore gives 1 to who reads it, anything else its whole count. What is taken is put back.
// Context: helper, all threads frozen
inline result<bool> is_semaphore(int fd, u64 count) {
  const u64 two = 2;
  if (count == 0) CKPT_TRY(sys::write(fd, &two, sizeof two));
  const u64 held = count == 0 ? two : count;
  u64 taken = 0;
  CKPT_TRY(sys::read(fd, &taken, sizeof taken));
  // A count of 1 tells nothing; neither does it matter to whoever reads it, but later ones would.
  bool semaphore = taken < held;
  if (held == 1) {
    CKPT_TRY(sys::write(fd, &two, sizeof two));
    CKPT_TRY(sys::read(fd, &taken, sizeof taken));
    semaphore = taken == 1;
    if (semaphore) CKPT_TRY(sys::read(fd, &taken, sizeof taken));
    taken = 1;
  } else if (count == 0) {
    if (semaphore) CKPT_TRY(sys::read(fd, &taken, sizeof taken));
    return semaphore;
  }
  CKPT_TRY(sys::write(fd, &taken, sizeof taken));
  return semaphore;
}

/// `fd` is ours and refers to the same open file.
// Context: helper, all threads frozen
inline result<event_counter> capture_eventfd(int fd, std::string_view info) {
  const auto seen = CKPT_TRY(proc::parse_eventfd(info));
  event_counter e{};
  e.count = seen.count;
  e.semaphore = seen.semaphore >= 0                      ? static_cast<u32>(seen.semaphore)
                : CKPT_TRY(is_semaphore(fd, seen.count)) ? 1u
                                                         : 0u;
  return e;
}

/// read_info() reads fdinfo anew. The kernel counts the expirations of a periodic timer when
/// somebody asks for its time, so it is asked first; a timer that expires before fdinfo is read is
/// asked once more.
// Context: helper, all threads frozen
template <class ReadInfo>
result<timer_file> capture_timerfd(int fd, ReadInfo&& read_info) {
  proc::timerfd_info seen;
  for (int tries = 0; tries < 100; ++tries) {
    sys::abi::itimerspec now{};
    CKPT_TRY(sys::timerfd_gettime(fd, now));
    const std::string_view text = CKPT_TRY(read_info());
    seen = CKPT_TRY(proc::parse_timerfd(text));
    if (seen.interval_ns == 0 || seen.value_ns != 0 || seen.ticks == 0) break;
  }
  timer_file t{};
  t.clock = seen.clock;
  t.settime_flags = seen.settime_flags;
  t.ticks = seen.ticks;
  t.interval_ns = seen.interval_ns;
  t.due_ns = seen.value_ns != 0 || seen.ticks == 0 || seen.interval_ns == 0 ? seen.value_ns : 1;
  if (t.due_ns != 0 && event_detail::is_time_of_day(seen.clock, seen.settime_flags))
    t.due_at_ns = event_detail::now_of(seen.clock) + t.due_ns;
  return t;
}

// Context: agent, in restored memory
inline result<int> make_eventfd(const event_counter& e) {
  const int fd = CKPT_TRY(sys::eventfd2(0, e.semaphore != 0 ? sys::abi::efd_semaphore : 0));
  const u64 count = e.count;
  if (count != 0)
    if (auto r = sys::write(fd, &count, sizeof count); !r.ok()) {
      (void)sys::close(fd);
      return r.error();
    }
  return fd;
}

/// Without a time: start_timerfd() gives it one.
// Context: agent, in restored memory
inline result<int> make_timerfd(const timer_file& t) {
  return sys::timerfd_create(t.clock, 0);
}

/// Kernels built without TFD_IOC_SET_TICKS count the expirations of a timer that was due long ago.
// Context: agent, in restored memory
inline result<void> start_timerfd(int fd, const timer_file& t) {
  using namespace event_detail;
  if (t.due_ns == 0 && t.ticks == 0) return {};
  const int flags = static_cast<int>(t.settime_flags.get());
  const bool absolute = (flags & sys::abi::tfd_timer_abstime) != 0;
  const i64 now = now_of(t.clock);
  i64 due = t.due_ns;
  if (t.due_at_ns != 0)
    due = t.due_at_ns;
  else if (absolute && due != 0)
    due += now;
  const sys::abi::timespec interval = timespec_of(t.interval_ns);
  if (due != 0) CKPT_TRY(sys::timerfd_settime(fd, flags, {interval, timespec_of(due)}));
  if (t.ticks == 0) return {};
  // One that has expired meanwhile counts itself as one of them.
  const u64 ticks = t.ticks + (t.due_at_ns != 0 && due <= now ? 1 : 0);
  if (sys::ioctl(fd, sys::abi::tfd_ioc_set_ticks, &ticks).ok()) return {};
  i64 ago = 0;
  if (__builtin_mul_overflow(static_cast<i64>(t.ticks.get()), t.interval_ns.get(), &ago))
    return errc::range;
  i64 first = now + t.due_ns - ago;
  if (first < 1) first = 1;
  return sys::timerfd_settime(fd, sys::abi::tfd_timer_abstime, {interval, timespec_of(first)});
}

// Context: agent, in restored memory
inline result<int> make_signalfd(const signal_file& s) {
  return sys::signalfd4(-1, s.mask, 0);
}

}  // namespace ckpt::state
