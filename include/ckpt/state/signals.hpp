// SPDX-License-Identifier: MIT
//
// Signal dispositions and the queues of pending signals with everything siginfo carries.
// Source: rt_sigaction(2), rt_sigqueueinfo(2), ptrace(2) PTRACE_PEEKSIGINFO.
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

struct signal_action {
  static constexpr auto record = format::record_type::signal_action;
  wire::le<u32> signal;
  wire::reserved<4> reserved;
  wire::le<u64> handler;
  wire::le<u64> flags;
  wire::le<u64> restorer;
  wire::le<u64> mask;
};

struct pending_signal {
  static constexpr auto record = format::record_type::pending_signal;
  wire::le<i32> thread;
  wire::le<i32> signal;
  wire::blob<128> info;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::signal_action, signal, reserved, handler, flags, restorer,
                        mask);
BOOST_HANA_ADAPT_STRUCT(ckpt::state::pending_signal, thread, signal, info);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::signal_action> = description<6>{
    "signal_action",
    "One disposition that is not the default, as rt_sigaction(2) takes it.",
    {"signal number", "zero", "SIG_IGN 1 or the handler's address", "SA_*",
     "address of the restorer", "signals blocked in the handler, bit n-1 for signal n"}};
template <>
inline constexpr auto describe<state::pending_signal> = description<3>{
    "pending_signal",
    "One queued signal, in the order of its queue.",
    {"0 for the process's queue, otherwise the thread id", "signal number",
     "siginfo_t as the kernel has it"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<signal_action, 40>());
static_assert(wire::laid_out_in<pending_signal, 136>());

[[nodiscard]] constexpr bool can_be_caught(int signal) {
  return signal != sys::abi::sig_kill && signal != sys::abi::sig_stop;
}

// Context: triggering thread, all others frozen
inline result<void> capture_actions(format::metadata_builder& out) {
  for (int signal = 1; signal <= sys::abi::signal_count; ++signal) {
    if (!can_be_caught(signal)) continue;
    sys::abi::kernel_sigaction now{};
    CKPT_TRY(sys::rt_sigaction(signal, nullptr, &now));
    if (now.handler == sys::abi::sig_dfl && now.flags == 0 && now.mask == 0) continue;
    signal_action a{};
    a.signal = static_cast<u32>(signal);
    a.handler = now.handler;
    a.flags = now.flags;
    a.restorer = now.restorer;
    a.mask = now.mask;
    CKPT_TRY(out.add(a));
  }
  return {};
}

/// Whoever restarts may have left signals ignored (nohup does): first all are set to default.
// Context: agent, in restored memory
inline void reset_actions() {
  const sys::abi::kernel_sigaction standard{};
  for (int signal = 1; signal <= sys::abi::signal_count; ++signal)
    if (can_be_caught(signal)) (void)sys::rt_sigaction(signal, &standard, nullptr);
}

// Context: agent, in restored memory
inline result<void> restore_action(const signal_action& a) {
  const sys::abi::kernel_sigaction action{a.handler, a.flags, a.restorer, a.mask};
  return sys::rt_sigaction(static_cast<int>(a.signal.get()), &action, nullptr);
}

/// To itself a process may queue any si_code. Everything is blocked while this runs.
// Context: agent, in restored memory
inline result<void> restore_pending(const pending_signal& p, int pid, int tid) {
  sys::abi::siginfo info{};
  std::memcpy(&info, &p.info, sizeof info);
  if (p.thread == 0) return sys::rt_sigqueueinfo(pid, p.signal, info);
  return sys::rt_tgsigqueueinfo(pid, tid, p.signal, info);
}

/// A signal that was just taken from this thread's queues: tgkill(2) is for a thread.
// Context: all signals blocked
inline result<void> put_back(const sys::abi::siginfo& info, int signal, int pid, int tid) {
  if (info.si_code == sys::abi::si_tkill)
    return sys::rt_tgsigqueueinfo(pid, tid, signal, info);
  return sys::rt_sigqueueinfo(pid, signal, info);
}

}  // namespace ckpt::state
