// SPDX-License-Identifier: MIT
//
// Timers of timer_create(2): ids, what they notify, what remains, and the expirations that have
// been counted and not yet been seen (timer_getoverrun(2)). They stand still between checkpoint
// and restart, as the timers of setitimer(2) do.
//
// The kernel has no call that sets an overrun. But a timer that was due N and a half intervals ago
// fires at once with an overrun of exactly N, so that is how both an overrun and a signal that
// waits to be delivered are made again.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/proc/timers.hpp"
#include "ckpt/state/signals.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct posix_timer {
  static constexpr auto record = format::record_type::posix_timer;
  wire::le<i32> id;
  wire::le<i32> clock;
  wire::le<i32> notify;
  wire::le<i32> signal;
  wire::le<i32> thread;
  wire::le<i32> overrun;
  wire::le<u64> value;
  wire::le<i64> due_ns;
  wire::le<i64> interval_ns;
  wire::le<u32> state;
  wire::reserved<4> reserved;
};

/// A stopped timer has no time to be due at.
inline constexpr u32 timer_stopped = 0, timer_running = 1, timer_signal_pending = 2;

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::posix_timer, id, clock, notify, signal, thread, overrun, value,
                        due_ns, interval_ns, state, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::posix_timer> = description<11>{
    "posix_timer",
    "One timer of timer_create(2).",
    {"the kernel's timer id", "clockid_t", "SIGEV_* of sigevent(7)", "sigev_signo",
     "for SIGEV_THREAD_ID the thread, otherwise 0", "timer_getoverrun(2)", "sigev_value",
     "nanoseconds until it is due; negative: since the first expiration that no signal has "
     "delivered",
     "nanoseconds between expirations, 0 for none",
     "0 stopped, 1 running, 2 its signal waits to be delivered", "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<posix_timer, 56>());

namespace timer_detail {

constexpr i64 second = 1'000'000'000;
inline i64 nanoseconds(const sys::abi::timespec& t) {
  return t.tv_sec * second + t.tv_nsec;
}
inline sys::abi::timespec timespec_of(i64 ns) {
  return {ns / second, ns % second};
}

/// Clocks of processor time stand still while nobody works, and tick instead of interrupting.
inline bool is_cpu_clock(i32 clock) {
  return clock < 0 || clock == sys::abi::clock_process_cputime ||
         clock == sys::abi::clock_thread_cputime;
}

/// Sets the timer as if it had been due `ago` nanoseconds before now. A clock younger than that (of
/// a machine just started) shortens the past by whole intervals; a due time of 0 would stop it.
inline result<void> set_due_before(i32 id, i32 clock, i64 ago, i64 interval) {
  sys::abi::timespec now{};
  CKPT_TRY(sys::clock_gettime(clock, now));
  i64 due = nanoseconds(now) - ago;
  if (due < 1 && interval > 0) due += (-due / interval + 1) * interval;
  if (due < 1) due = 1;
  return sys::timer_settime(id, sys::abi::timer_abstime, {timespec_of(interval), timespec_of(due)});
}

/// Waits until a timer that was set into the past has queued its signal, which an interrupt of the
/// clock does, some time after the call that set it: what is queued next must come behind it. Until
/// then the kernel says that one nanosecond remains (timer_get of kernel/time/posix-timers.c).
// Context: all signals blocked, all others frozen
inline result<void> wait_for_signal_of(i32 id) {
  sys::abi::timespec clock{};
  CKPT_TRY(sys::clock_gettime(sys::abi::clock_monotonic, clock));
  const i64 patience = nanoseconds(clock) + second;
  while (true) {
    sys::abi::itimerspec left{};
    CKPT_TRY(sys::timer_gettime(id, left));
    if (nanoseconds(left.it_value) != 1) return {};
    CKPT_TRY(sys::clock_gettime(sys::abi::clock_monotonic, clock));
    if (nanoseconds(clock) > patience) return {};
  }
}

}  // namespace timer_detail

/// si_timerid and si_overrun, which only a signal of a timer has.
[[nodiscard]] inline bool is_from_timer(const sys::abi::siginfo& info) {
  return info.si_code == sys::abi::si_timer;
}
[[nodiscard]] inline i32 timer_id_of(const sys::abi::siginfo& info) {
  i32 id = 0;
  std::memcpy(&id, info.fields, sizeof id);
  return id;
}
[[nodiscard]] inline i32 overrun_of(const sys::abi::siginfo& info) {
  i32 n = 0;
  std::memcpy(&n, info.fields + 4, sizeof n);
  return n;
}

/// A timer and when its clock was read: one that nobody stops goes on while it is captured.
struct captured_timer {
  posix_timer record;
  i64 seen_ns;
};

/// One timer with what the kernel tells of it. `thread` is the one it notifies, as the program
/// numbers it.
// Context: triggering thread, all others frozen
inline result<captured_timer> capture_posix_timer(const proc::posix_timer& seen, i32 thread) {
  using namespace timer_detail;
  captured_timer captured{};
  auto& t = captured.record;
  t.id = seen.id;
  t.clock = seen.clock;
  t.notify = seen.notify | (seen.thread ? sys::abi::sigev_thread_id : 0);
  t.signal = seen.signal;
  t.thread = seen.thread ? thread : 0;
  t.value = seen.value;
  t.overrun = sys::timer_getoverrun(seen.id).value_or(0);
  sys::abi::timespec clock{};
  CKPT_TRY(sys::clock_gettime(t.clock, clock));
  sys::abi::itimerspec now{};
  CKPT_TRY(sys::timer_gettime(seen.id, now));
  captured.seen_ns = nanoseconds(clock);
  t.due_ns = nanoseconds(now.it_value);
  t.interval_ns = nanoseconds(now.it_interval);
  t.state = t.due_ns != 0 ? timer_running : timer_stopped;
  return captured;
}

/// The expirations behind a signal that waits are counted where no call shows them: only who takes
/// the signal is told. Takes `count` signals of that number and tells visit(info) of each; whoever
/// calls this puts them back with queue_signals(), and then what has come meanwhile, which is in
/// the first of `late`, as many as this returns.
///
/// To take the signal of a periodic timer starts it, and before visit() can stop it, it may have
/// fired again. Such a signal is void, but it keeps its place in the queue, and the timer's next
/// one would take that place: so the queue is emptied to its end, where the kernel drops it
/// (before 6.13 it delivers it).
// Context: triggering thread, all signals blocked, all others frozen
template <class Visitor>
u32 take_signals(int signal, u32 count, Visitor&& visit, std::span<sys::abi::siginfo> late) {
  sys::abi::siginfo info{};
  const auto take = [&] {
    return sys::rt_sigtimedwait(u64{1} << (signal - 1), info, {0, 0}).ok();
  };
  bool left = true;
  for (; count > 0 && left; --count)
    if (left = take(); left) visit(info);
  u32 more = 0;
  while (left && more < late.size() && (left = take()))
    if (!is_from_timer(info)) late[more++] = info;
  return more;
}

/// Notes the signal that was taken for a timer at `taken_ns` of its clock. Its overrun counts what
/// has expired since the timer was looked at, too; where that is in doubt by one, the timer comes
/// late, never early.
inline void note_pending(captured_timer& captured, const sys::abi::siginfo& info, i64 taken_ns) {
  auto& t = captured.record;
  t.state = timer_signal_pending;
  if (t.interval_ns == 0) {
    t.due_ns = -1;
    return;
  }
  const i64 late = taken_ns - captured.seen_ns - t.due_ns;
  const i64 since = late >= 0 ? late / t.interval_ns + 1 : 0;
  const i64 expired = i64{overrun_of(info)} + 1;
  t.due_ns = t.due_ns - (expired > since ? expired - since : 1) * t.interval_ns;
}

/// Lets a timer run on with the overrun of its last signal, or fire at once when its signal was
/// waiting. To set a timer resets its overrun, so one that has an overrun is started in the past
/// and the signal that this gives is taken. Then the signal must be blocked and no other of its
/// number be queued. A clock of processor time has no past after a restart: such a timer of a busy
/// thread nearly always has an overrun, and goes on without.
// Context: all signals blocked, all others frozen
inline result<void> start_posix_timer(const posix_timer& t) {
  using namespace timer_detail;
  if (t.state == timer_stopped) return {};
  if (t.state == timer_signal_pending) {
    CKPT_TRY(set_due_before(t.id, t.clock, -t.due_ns, t.interval_ns));
    return wait_for_signal_of(t.id);
  }
  const bool has_overrun =
      t.overrun > 0 && t.interval_ns > 0 && (t.notify & sys::abi::sigev_none) == 0;
  if (!has_overrun || is_cpu_clock(t.clock))
    return sys::timer_settime(t.id, 0, {timespec_of(t.interval_ns), timespec_of(t.due_ns)});
  CKPT_TRY(set_due_before(t.id, t.clock, (i64{t.overrun} + 1) * t.interval_ns - t.due_ns,
                          t.interval_ns));
  sys::abi::siginfo info{};
  CKPT_TRY(sys::rt_sigtimedwait(u64{1} << (t.signal - 1), info, {1, 0}));
  if (overrun_of(info) < t.overrun) return errc::range;  // this machine is younger than the past
  return {};
}

/// A clock of processor time names its process or thread by number; `renumber` maps saved numbers
/// to present ones.
template <class Renumber>
[[nodiscard]] i32 present_clock(i32 clock, Renumber&& renumber) {
  if (clock >= 0) return clock;
  const i32 number = ~(clock >> 3);
  return number == 0 ? clock : (~renumber(number) << 3) | (clock & 7);
}

/// Makes the timer with its id, stopped. Since 6.15 the kernel takes a wish for the id; before, ids
/// ascend, so timers are made until the right one comes.
// Context: agent, in restored memory
inline result<void> create_posix_timer(const posix_timer& t) {
  sys::abi::sigevent event{};
  event.sigev_value = t.value;
  event.sigev_signo = t.signal;
  event.sigev_notify = t.notify;
  event.sigev_target = t.thread;
  i32 id = t.id;
  if (sys::prctl(sys::abi::pr_timer_create_restore_ids, sys::abi::pr_timer_ids_on, 0, 0, 0).ok()) {
    const auto made = sys::timer_create(t.clock, event, id);
    (void)sys::prctl(sys::abi::pr_timer_create_restore_ids, sys::abi::pr_timer_ids_off, 0, 0, 0);
    return made;
  }
  constexpr u32 patience = 10'000'000;
  for (u32 i = 0; i < patience; ++i) {
    CKPT_TRY(sys::timer_create(t.clock, event, id));
    if (id == t.id) return {};
    (void)sys::timer_delete(id);
    if (id > t.id) break;
  }
  return errc::exists;
}

}  // namespace ckpt::state
