// SPDX-License-Identifier: MIT
//
// The three interval timers of setitimer(2); alarm(2) is the first of them. They stand still
// between checkpoint and restart: what remained then remains now.
#pragma once

#include "ckpt/format/metadata.hpp"
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

// Context: triggering thread, all others frozen
inline result<void> capture_timers(format::metadata_builder& out) {
  for (u32 which = 0; which < 3; ++which) {
    sys::abi::itimerval now{};
    CKPT_TRY(sys::getitimer(static_cast<int>(which), now));
    interval_timer t{};
    t.which = which;
    t.value_us = now.it_value.tv_sec * 1'000'000 + now.it_value.tv_usec;
    t.interval_us = now.it_interval.tv_sec * 1'000'000 + now.it_interval.tv_usec;
    // A periodic timer whose signal still waits to be delivered shows no value: the kernel starts
    // it again with the delivery, so the next firing is a whole interval away.
    if (t.value_us == 0) t.value_us = t.interval_us;
    if (t.value_us != 0) CKPT_TRY(out.add(t));
  }
  return {};
}

// Context: agent, in restored memory
inline result<void> restore_timer(const interval_timer& t) {
  const auto split = [](i64 us) { return sys::abi::timeval{us / 1'000'000, us % 1'000'000}; };
  return sys::setitimer(static_cast<int>(t.which.get()),
                        {split(t.interval_us), split(t.value_us)});
}

}  // namespace ckpt::state
