// SPDX-License-Identifier: MIT
//
// What the triggering thread must say of itself and of the process, while all others are frozen:
// children, settings, timers, handlers, limits.
#pragma once

#include "ckpt/state/limits.hpp"
#include "ckpt/state/refusals.hpp"
#include "ckpt/state/timers.hpp"
#include "environment.hpp"
#include "queued_signals.hpp"
#include "rseq_probe.hpp"

namespace ckpt::agent {

constexpr int any_child = sys::abi::w_exited | sys::abi::w_stopped | sys::abi::w_continued |
                          sys::abi::w_nohang | sys::abi::w_nowait | sys::abi::w_all;

/// In a container the program may be process 1, which inherits orphans: then the helper is its
/// child.
inline bool helper_is_child(int helper) {
  sys::abi::siginfo info{};
  return sys::waitid(sys::abi::p_pid, helper, info, any_child).ok();
}

/// A child cannot be in the image, and without it the program's wait would fail.
inline result<void> refuse_children(session& s) {
  sys::abi::siginfo info{};
  if (!sys::waitid(sys::abi::p_all, 0, info, any_child).ok()) return {};
  fixed_text<96> path;
  path.append(s.self.view()).append("/children");
  char text[4096];
  const auto list = read_text(path.c_str(), text);
  std::string_view rest = list.ok() ? *list : std::string_view();
  std::string_view first;
  while (!rest.empty() && first.empty()) {
    const auto word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(word.size() < rest.size() ? word.size() + 1 : rest.size());
    const auto pid = parse_number(word);
    if (!pid.ok() || static_cast<int>(*pid) != s.helper) first = word;
  }
  if (list.ok() && first.empty() && helper_is_child(s.helper)) return {};
  return state::refuse_child(s.why, first);
}

/// The number by which the program knows a thread that /proc names.
inline int inner_tid(const session& s, i32 outer) {
  if (s.outer_pid_number == s.program) return outer;
  char text[4096];
  fixed_text<64> path;
  path.append(s.proc.view()).append("/task/").append(outer).append("/status");
  const auto status = read_text(path.c_str(), text);
  return status.ok() ? proc::status_innermost_pid(*status).value_or(outer) : outer;
}

/// How often a timer has fired while its signal waits is told only to who takes the signal: it is
/// taken, and with all others of its number put back.
// Context: triggering thread, all others frozen
inline result<void> count_pending_expirations(session& s, std::span<state::captured_timer> timers) {
  const auto captured_with = [&](i32 id) -> state::captured_timer* {
    for (auto& t : timers)
      if (t.record.id == id) return &t;
    return nullptr;
  };
  const auto timer_with = [&](i32 id) -> state::posix_timer* {
    auto* t = captured_with(id);
    return t != nullptr ? &t->record : nullptr;
  };
  // Only another thread could take its signal: what has expired behind that is not known.
  const auto note_others_signal = [&](const sys::abi::siginfo& info) {
    auto* t = state::is_from_timer(info) ? timer_with(state::timer_id_of(info)) : nullptr;
    if (t == nullptr || is_own_tick(info)) return;
    t->state = state::timer_signal_pending;
    t->due_ns = t->interval_ns > 0 ? t->due_ns - t->interval_ns : i64{-1};
  };
  u64 numbers = 0;  // of signals that timers have sent
  u32 queued[sys::abi::signal_count + 1] = {};
  image::for_each<state::pending_signal>(s.metadata.view(),
                                         [&](const state::pending_signal& p, bytes) {
                                           const auto info = info_of(p);
                                           if (p.thread != 0 && p.thread != s.thread)
                                             return note_others_signal(info);
                                           ++queued[p.signal];
                                           if (state::is_from_timer(info) && !is_own_tick(info))
                                             numbers |= u64{1} << (p.signal - 1);
                                         });
  if (numbers == 0) return {};
  const auto room = CKPT_TRY(s.arena.take(page_size));
  const std::span late(reinterpret_cast<sys::abi::siginfo*>(room.data()),
                       room.size() / sizeof(sys::abi::siginfo));
  for (int number = 1; number <= sys::abi::signal_count; ++number) {
    if ((numbers >> (number - 1) & 1) == 0) continue;
    const auto note = [&](const sys::abi::siginfo& info) {
      auto* t = state::is_from_timer(info) ? captured_with(state::timer_id_of(info)) : nullptr;
      if (t == nullptr || is_own_tick(info)) return;
      const i64 now = state::nanoseconds_of(t->record.clock);
      // Taking the signal has started a periodic timer again; it waits until it is put back.
      (void)sys::timer_settime(t->record.id, 0, {{0, 0}, {0, 0}});
      state::note_pending(*t, info, now);
    };
    const u32 came = state::take_signals(number, queued[number], note, late);
    // What has just been taken leaves room for it.
    (void)queue_signals(s.metadata.view(), number, s.thread, s.program, s.thread, timer_with);
    for (const auto& info : late.first(came))
      (void)state::put_back(info, number, s.program, s.thread);
  }
  return {};
}

/// Timers of timer_create(2) other than the agent's own.
// Context: triggering thread, all others frozen
inline result<void> capture_posix_timers(session& s) {
  fixed_text<64> path;
  path.append(s.proc.view()).append("/timers");
  const sys::unique_fd fd(
      sys::openat(sys::abi::at_fdcwd, path.c_str(), sys::abi::o_rdonly | sys::abi::o_cloexec)
          .value_or(-1));
  if (!fd) return {};  // the kernel was built without them
  const auto room = CKPT_TRY(s.arena.take(u64{1} << 20));
  sys::linux_files kernel;
  const u64 size = CKPT_TRY(sys::read_up_to(kernel, fd.get(), room));
  if (size == room.size()) return s.why.refuse("the program has too many POSIX timers");
  std::string_view text(reinterpret_cast<const char*>(room.data()), size);
  const auto list = CKPT_TRY(s.arena.take(u64{1} << 20));
  const std::span all(reinterpret_cast<state::captured_timer*>(list.data()),
                      list.size() / sizeof(state::captured_timer));
  u64 count = 0;
  while (!text.empty()) {
    const auto seen = proc::take_posix_timer(text);
    if (!seen.ok()) return s.why.explain(seen.error(), "cannot understand ", path.view());
    if (seen->id == state_of_agent.period.timer()) continue;
    if (count == all.size()) return s.why.refuse("the program has too many POSIX timers");
    all[count++] = CKPT_TRY(state::capture_posix_timer(*seen, inner_tid(s, seen->target)));
  }
  CKPT_TRY(count_pending_expirations(s, all.first(count)));
  // The newest stands first there; they are made again in the order in which they were made.
  for (u64 i = count; i > 0; --i) CKPT_TRY(s.metadata.add(all[i - 1].record));
  return {};
}

/// What was asked of the kernel by prctl(2) and its kin.
// Context: triggering thread, all others frozen
inline result<void> capture_settings(session& s) {
  const auto asked = state::current_process_settings();
  if (!asked.ok()) return s.why.explain(asked.error(), "cannot read the settings in /proc/self");
  auto of_process = *asked;
  of_process.coredump_filter = s.coredump_filter;
  of_process.dumpable = s.dumpable;
  of_process.child_subreaper = s.child_subreaper;
  of_process.lock_future = s.arena.lock_future();
  CKPT_TRY(s.metadata.add(of_process));
  const auto processors = state::processor_set::of(0);
  const bool free = processors == s.processors_allowed;
  auto of_thread = state::current_thread_settings(s.thread, s.default_slice);
  if (s.deadline_lent)
    of_thread.sched_flags = of_thread.sched_flags & ~sys::abi::sched_flag_reset_on_fork;
  return s.metadata.add(of_thread, free ? bytes() : processors.view());
}

/// What the thread must say of itself; all others are stopped.
// Context: triggering thread, all others frozen
inline result<void> capture_self() {
  auto& s = current();
  CKPT_TRY(refuse_children(s));
  if (!sys::prctl(sys::abi::pr_get_tid_address, &s.clear_child_tid).ok()) s.clear_child_tid = 0;
  if (!sys::arch_prctl(sys::abi::arch_get_fs, &s.fs_base).ok() ||
      !sys::arch_prctl(sys::abi::arch_get_gs, &s.gs_base).ok())
    return s.why.refuse("cannot read the thread's segment bases");
  u64 shadow_stack = 0;
  if (sys::arch_prctl(sys::abi::arch_shstk_status, &shadow_stack).ok() && (shadow_stack & 1) != 0)
    return s.why.refuse("the program runs with a shadow stack, which this version does not save");
  if (s.probes_rseq) s.rseq = probe_rseq(s.fs_base);
  // While this thread waits, the kernel would write the processor's number into its rseq area, and
  // the image would get one number and its checksum another.
  if (s.rseq.address != 0)
    (void)sys::rseq(s.rseq.address, s.rseq.size, sys::abi::rseq_flag_unregister, s.rseq.signature);
  s.personality = sys::personality(sys::abi::personality_query).value_or(0);
  CKPT_TRY(capture_settings(s));
  CKPT_TRY(capture_posix_timers(s));
  CKPT_TRY(state::capture_actions(s.metadata));
  CKPT_TRY(state::capture_timers(s.metadata, s.pending));
  return state::capture_limits(s.metadata);
}

}  // namespace ckpt::agent
