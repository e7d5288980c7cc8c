// SPDX-License-Identifier: MIT
//
// Signals that wait: put back into their queues, those of timers by the timers themselves.
#pragma once

#include "agent_state.hpp"
#include "ckpt/image/metadata_view.hpp"
#include "ckpt/state/posix_timers.hpp"
#include "ckpt/state/signals.hpp"

namespace ckpt::agent {

/// Signals that wait for the program although its agent's own timer sent them.
inline bool is_own_tick(const sys::abi::siginfo& info) {
  return state_of_agent.period.raised(info);
}

inline sys::abi::siginfo info_of(const state::pending_signal& p) {
  sys::abi::siginfo info{};
  std::memcpy(&info, &p.info, sizeof info);
  return info;
}

/// Puts the signals of that number (0: of every number) back into their queues, in their order:
/// those of timers by the timers themselves, as `timer_with(id)` gives them. `saved_tid` is the
/// calling thread's.
// Context: all signals blocked, all others frozen
template <class TimerWith>
result<void> queue_signals(bytes metadata, int number, int saved_tid, int pid, int tid,
                           TimerWith&& timer_with) {
  result<void> outcome;
  image::for_each<state::pending_signal>(metadata, [&](const state::pending_signal& p, bytes) {
    if (number != 0 && p.signal != number) return;
    const auto info = info_of(p);
    if (is_own_tick(info)) return;
    // Another thread's are queued by itself, or by a timer.
    if (p.thread != 0 && p.thread != saved_tid && (number != 0 || !state::is_from_timer(info)))
      return;
    const state::posix_timer* timer =
        state::is_from_timer(info) ? timer_with(state::timer_id_of(info)) : nullptr;
    const auto queued = timer != nullptr && timer->state == state::timer_signal_pending
                            ? state::start_posix_timer(*timer)
                            : state::restore_pending(p, pid, tid);
    if (!queued.ok()) outcome = queued;
  });
  return outcome;
}

}  // namespace ckpt::agent
