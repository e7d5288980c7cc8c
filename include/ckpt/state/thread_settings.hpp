// SPDX-License-Identifier: MIT
//
// What a thread has asked of the kernel for itself: how it is scheduled, where, and what prctl(2)
// keeps per thread. Inherited by new threads and children, so each thread has its own.
// Source: sched(7), sched_setattr(2), sched_setaffinity(2), ioprio_set(2), prctl(2).
#pragma once

#include "ckpt/format/metadata.hpp"
#include "ckpt/state/process_settings.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

/// The modes of PR_SET_SPECULATION_CTRL there are: store bypass, indirect branch, L1D flush.
inline constexpr u32 speculation_modes = 3;

struct thread_settings {
  static constexpr auto record = format::record_type::thread_settings;
  wire::le<i32> tid;
  wire::le<u32> policy;
  wire::le<u64> sched_flags;
  wire::le<i32> nice;
  wire::le<u32> priority;
  wire::le<u64> runtime_ns;
  wire::le<u64> deadline_ns;
  wire::le<u64> period_ns;
  wire::le<u32> util_min;
  wire::le<u32> util_max;
  wire::le<i32> io_priority;
  wire::le<i32> parent_death_signal;
  wire::le<u64> timer_slack_ns;
  wire::le<i32> no_new_privs;
  wire::le<i32> securebits;
  wire::le<i32> machine_check_policy;
  wire::le<i32> timestamp_counter;
  wire::le<i32> cpuid_allowed;
  wire::le<i32> speculation_store_bypass;
  wire::le<i32> speculation_indirect_branch;
  wire::le<i32> speculation_l1d_flush;
  wire::le<u32> personality;
  wire::reserved<4> reserved;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::thread_settings, tid, policy, sched_flags, nice, priority,
                        runtime_ns, deadline_ns, period_ns, util_min, util_max, io_priority,
                        parent_death_signal, timer_slack_ns, no_new_privs, securebits,
                        machine_check_policy, timestamp_counter, cpuid_allowed,
                        speculation_store_bypass, speculation_indirect_branch,
                        speculation_l1d_flush, personality, reserved);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::thread_settings> = description<23>{
    "thread_settings",
    "What one thread has asked of the kernel. The tail is its affinity, the bytes of the mask that "
    "sched_getaffinity(2) gives; empty when the thread may run wherever the system lets it. -1 "
    "stands for a setting that the kernel could not tell.",
    {"the thread",
     "SCHED_*, as sched_setattr(2) takes it",
     "SCHED_FLAG_*",
     "nice(2)",
     "sched_priority of sched(7)",
     "sched_runtime: of a deadline, or the slice that was asked for; 0 for the default",
     "sched_deadline",
     "sched_period",
     "sched_util_min",
     "sched_util_max",
     "ioprio_get(2)",
     "PR_GET_PDEATHSIG of prctl(2)",
     "PR_GET_TIMERSLACK, 0 when the kernel could not tell",
     "PR_GET_NO_NEW_PRIVS",
     "PR_GET_SECUREBITS (capabilities(7)), the bit of PR_SET_KEEPCAPS among them",
     "PR_MCE_KILL_GET",
     "PR_GET_TSC",
     "ARCH_GET_CPUID of arch_prctl(2)",
     "PR_GET_SPECULATION_CTRL of PR_SPEC_STORE_BYPASS",
     "of PR_SPEC_INDIRECT_BRANCH",
     "of PR_SPEC_L1D_FLUSH",
     "personality(2)",
     "zero"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<thread_settings, 112>());

/// A set of processors as sched_getaffinity(2) gives it: room for 8192 of them.
struct processor_set {
  u8 bits[1024] = {};
  u64 size = 0;

  [[nodiscard]] bytes view() const { return bytes_of(bits).first(size); }
  bool operator==(const processor_set&) const = default;

  static processor_set of(int tid) {
    processor_set set;
    set.size = sys::sched_getaffinity(tid, set.bits, sizeof set.bits).value_or(0);
    return set;
  }
};

/// Every processor that cpusets leave to this task. Moves the task, which must be one whose
/// affinity nobody minds.
// Context: helper
inline processor_set processors_allowed() {
  processor_set every;
  for (u8& byte : every.bits) byte = 0xff;
  (void)sys::sched_setaffinity(0, every.bits, sizeof every.bits);
  return processor_set::of(0);
}

namespace settings_detail {
/// Only modes that can be set for one thread are settings of it.
inline i32 speculation(u32 mode) {
  const auto now = sys::prctl(sys::abi::pr_get_speculation_ctrl, mode, 0, 0, 0);
  return now.ok() && (*now & sys::abi::pr_spec_prctl) != 0 ? static_cast<i32>(*now) : absent;
}
inline sys::abi::sched_attr scheduling_of(int tid) {
  sys::abi::sched_attr a{};
  if (!sys::sched_getattr(tid, a, sizeof a).ok())
    (void)sys::sched_getattr(tid, a, sys::abi::sched_attr_size_0);
  return a;
}
}  // namespace settings_detail

/// The slice of time that a thread gets which has asked for none. Since 6.12 sched_getattr(2) gives
/// a slice for ordinary threads too, which depends on the machine. Changes the calling task.
// Context: helper
inline u64 default_slice() {
  auto a = settings_detail::scheduling_of(0);
  a.size = sizeof a;
  a.runtime = 0;
  (void)sys::sched_setattr(0, a);
  return settings_detail::scheduling_of(0).runtime;
}

/// A thread with a short slice gets a processor sooner among many that are busy, and no more of it
/// (since 6.12; sched(7)). 0 stands for the default. Nothing for threads of other policies.
// Context: any, no libc
inline void set_slice(u64 nanoseconds) {
  auto a = settings_detail::scheduling_of(0);
  constexpr u32 other = 0, batch = 3;
  if (a.policy != other && a.policy != batch) return;
  a.size = sizeof a;
  a.runtime = nanoseconds;
  (void)sys::sched_setattr(0, a);
}
/// The shortest there is.
inline constexpr u64 short_slice = 100'000;

// Context: the thread in question
inline thread_settings current_thread_settings(int tid, u64 slice) {
  using namespace settings_detail;
  thread_settings s{};
  s.tid = tid;
  const auto a = scheduling_of(0);
  s.policy = a.policy;
  s.sched_flags = a.flags;
  s.nice = a.nice;
  s.priority = a.priority;
  s.runtime_ns = a.runtime == slice ? 0 : a.runtime;
  s.deadline_ns = a.deadline, s.period_ns = a.period;
  s.util_min = a.util_min, s.util_max = a.util_max;
  s.io_priority = sys::ioprio_get(0).value_or(absent);
  i32 signal = 0;
  s.parent_death_signal =
      sys::prctl(sys::abi::pr_get_pdeathsig, &signal, 0, 0, 0).ok() ? signal : absent;
  s.timer_slack_ns =
      static_cast<u64>(sys::prctl(sys::abi::pr_get_timerslack, 0, 0, 0, 0).value_or(0));
  s.no_new_privs = current_setting(sys::abi::pr_get_no_new_privs);
  s.securebits = current_setting(sys::abi::pr_get_securebits);
  s.machine_check_policy = current_setting(sys::abi::pr_mce_kill_get);
  i32 tsc = 0;
  s.timestamp_counter = sys::prctl(sys::abi::pr_get_tsc, &tsc, 0, 0, 0).ok() ? tsc : absent;
  const auto cpuid = sys::arch_prctl(sys::abi::arch_get_cpuid, 0);
  s.cpuid_allowed = cpuid.ok() ? static_cast<i32>(*cpuid) : absent;
  s.speculation_store_bypass = speculation(0);
  s.speculation_indirect_branch = speculation(1);
  s.speculation_l1d_flush = speculation(2);
  s.personality = sys::personality(sys::abi::personality_query).value_or(0);
  return s;
}

/// Sets what differs, for the calling thread. lost(what, errc) hears of each that this thread may
/// not or cannot have.
// Context: agent, in restored memory
template <class Lost>
void restore_thread_settings(const thread_settings& s, bytes affinity, Lost&& lost) {
  using namespace settings_detail;
  processor_set wanted;
  if (affinity.empty()) {
    (void)processors_allowed();
  } else if (affinity.size() <= sizeof wanted.bits) {
    std::memcpy(wanted.bits, affinity.data(), affinity.size());
    if (auto r = sys::sched_setaffinity(0, wanted.bits, sizeof wanted.bits); !r.ok())
      lost("the affinity: none of its processors is available here", r.error());
  }
  auto a = scheduling_of(0);
  const bool clamped = s.util_min != a.util_min || s.util_max != a.util_max;
  if (a.policy != s.policy || a.nice != s.nice || a.priority != s.priority ||
      a.flags != s.sched_flags || (s.runtime_ns != 0 && a.runtime != s.runtime_ns) ||
      a.deadline != s.deadline_ns || a.period != s.period_ns || clamped) {
    a = {};
    a.size = sizeof a;
    a.policy = s.policy;
    a.flags = s.sched_flags | (clamped ? sys::abi::sched_flag_util_clamp : 0);
    a.nice = s.nice;
    a.priority = s.priority;
    a.runtime = s.runtime_ns, a.deadline = s.deadline_ns, a.period = s.period_ns;
    a.util_min = s.util_min, a.util_max = s.util_max;
    if (auto r = sys::sched_setattr(0, a); !r.ok()) {
      fixed_text<96> what;
      what.append("scheduling policy ").append(s.policy.get()).append(", nice ");
      what.append(s.nice.get()).append(", priority ").append(s.priority.get());
      lost(what.view(), r.error());
    }
  }
  if (s.io_priority != absent && sys::ioprio_get(0).value_or(absent) != s.io_priority)
    if (auto r = sys::ioprio_set(0, s.io_priority); !r.ok()) lost("the I/O priority", r.error());
  if (s.timer_slack_ns != 0)
    (void)sys::prctl(sys::abi::pr_set_timerslack, s.timer_slack_ns.get(), 0, 0, 0);
  if (s.machine_check_policy != absent &&
      current_setting(sys::abi::pr_mce_kill_get) != s.machine_check_policy)
    (void)sys::prctl(sys::abi::pr_mce_kill, sys::abi::pr_mce_kill_set, s.machine_check_policy.get(),
                     0, 0);
  const i32 modes[speculation_modes] = {s.speculation_store_bypass, s.speculation_indirect_branch,
                                        s.speculation_l1d_flush};
  for (u32 mode = 0; mode < speculation_modes; ++mode)
    if (modes[mode] != absent && speculation(mode) != modes[mode])
      if (auto r = sys::prctl(sys::abi::pr_set_speculation_ctrl, mode,
                              modes[mode] & ~sys::abi::pr_spec_prctl, 0, 0);
          !r.ok())
        lost("PR_SET_SPECULATION_CTRL", r.error());
}

/// What would hinder the restore: privileges, reading the clock, asking the processor.
// Context: agent, in restored memory
template <class Lost>
void finish_thread_settings(const thread_settings& s, Lost&& lost) {
  using namespace settings_detail;
  // Anybody may set the bit of PR_SET_KEEPCAPS, by that name.
  constexpr i32 keep_caps = 1 << 4;
  const i32 bits = current_setting(sys::abi::pr_get_securebits);
  if (s.securebits != absent && (bits & keep_caps) != (s.securebits & keep_caps))
    (void)sys::prctl(sys::abi::pr_set_keepcaps, (s.securebits & keep_caps) != 0 ? 1 : 0, 0, 0, 0);
  if (s.securebits != absent && (bits | keep_caps) != (s.securebits | keep_caps))
    if (auto r = sys::prctl(sys::abi::pr_set_securebits, s.securebits.get(), 0, 0, 0); !r.ok())
      lost("PR_SET_SECUREBITS", r.error());
  if (s.no_new_privs == 1) (void)sys::prctl(sys::abi::pr_set_no_new_privs, 1, 0, 0, 0);
  if (s.parent_death_signal != absent)
    (void)sys::prctl(sys::abi::pr_set_pdeathsig, s.parent_death_signal.get(), 0, 0, 0);
  if (s.cpuid_allowed == 0 && !sys::arch_prctl(sys::abi::arch_set_cpuid, 0).ok())
    lost("ARCH_SET_CPUID", errc::invalid);
  if (s.timestamp_counter != absent)
    (void)sys::prctl(sys::abi::pr_set_tsc, s.timestamp_counter.get(), 0, 0, 0);
  // No sooner: with READ_IMPLIES_EXEC every mapping made under it becomes executable.
  if (sys::personality(sys::abi::personality_query).value_or(s.personality) != s.personality)
    (void)sys::personality(s.personality);
}

}  // namespace ckpt::state
