// SPDX-License-Identifier: MIT
//
// The three interval timers of setitimer(2); alarm(2) is the first of them. They stand still
// between checkpoint and restart: what remained then remains now.
#pragma once

#include <cstring>

#include "ckpt/format/metadata.hpp"
#include "ckpt/state/signals.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct interval_timer {
  static constexpr auto record = format::record_type::interval_timer;
  wire::le<u32> which;
  wire::reserved<4> reserved;
  wire::le<i64> value_us;
  wire::le<i64> interval_us;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::interval_timer, which, reserved, value_us, interval_us);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::interval_timer> = description<4>{
    "interval_timer",
    "One armed timer of setitimer(2).",
    {"ITIMER_REAL 0, ITIMER_VIRTUAL 1, ITIMER_PROF 2", "zero",
     "microseconds until it fires", "microseconds between later firings, 0 for none"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<interval_timer, 24>());

/// A timer that has fired since the pending signals were looked at would be in no record: its
/// signal is added here. `looked_at` are the signals that were pending then.
// Context: triggering thread, all others frozen
inline result<void> capture_timers(format::metadata_builder& out, u64 looked_at = ~u64{0}) {
  constexpr int signals[] = {sys::abi::sig_alrm, sys::abi::sig_vtalrm, sys::abi::sig_prof};
  for (u32 which = 0; which < 3; ++which) {
    const u64 signal = u64{1} << (signals[which] - 1);
    sys::abi::itimerval now{};
    u64 before = 0, after = 0;
    do {  // until it has not fired in between
      CKPT_TRY(sys::rt_sigpending(before));
      CKPT_TRY(sys::getitimer(static_cast<int>(which), now));
      CKPT_TRY(sys::rt_sigpending(after));
    } while (((before ^ after) & signal) != 0);
    interval_timer t{};
    t.which = which;
    t.value_us = now.it_value.tv_sec * 1'000'000 + now.it_value.tv_usec;
    t.interval_us = now.it_interval.tv_sec * 1'000'000 + now.it_interval.tv_usec;
    // A periodic timer whose signal still waits to be delivered shows no value: the kernel starts
    // it again with the delivery, so the next firing is a whole interval away.
    if (t.value_us == 0) t.value_us = t.interval_us;
    if (t.value_us != 0) CKPT_TRY(out.add(t));
    if ((after & ~looked_at & signal) == 0) continue;
    sys::abi::siginfo info{};
    info.si_signo = signals[which];
    info.si_code = sys::abi::si_kernel;
    pending_signal p{};
    p.signal = signals[which];
    std::memcpy(static_cast<void*>(&p.info), &info, sizeof info);
    CKPT_TRY(out.add(p));
  }
  return {};
}

/// The kernel adds a tick to timers of processor time, so that they never fire early; to one that has
/// it already it would add another with every restart.
// Context: agent, in restored memory
inline result<void> restore_timer(const interval_timer& t) {
  const auto split = [](i64 us) { return sys::abi::timeval{us / 1'000'000, us % 1'000'000}; };
  i64 value = t.value_us;
  sys::abi::timespec tick{};
  if (t.which != static_cast<u32>(sys::abi::itimer_real) &&
      sys::clock_getres(sys::abi::clock_monotonic_coarse, tick).ok() && value > tick.tv_nsec / 1000)
    value -= tick.tv_nsec / 1000;
  return sys::setitimer(static_cast<int>(t.which.get()), {split(t.interval_us), split(value)});
}

}  // namespace ckpt::state
