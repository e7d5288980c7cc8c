// SPDX-License-Identifier: MIT
//
// Stops the world by ptrace, from a process that is no thread of it: no signal is used, so threads
// that block all signals stop as well, and a system call that is interrupted can be made again.
// Source: ptrace(2), PTRACE_SEIZE and PTRACE_INTERRUPT.
#pragma once

#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/refusals.hpp"
#include "environment.hpp"
#include "thread_slot.hpp"

namespace ckpt::agent {

/// Waits for the next stop of a seized thread, for at most `patience` looks of about 50 µs after
/// `spins` at once: its status. errc::gone when the thread has ended, errc::busy when it does not
/// stop.
// Context: helper
inline result<int> wait_for_stop(int tid, int patience, int spins = 0) {
  for (int tries = -spins; tries < patience; ++tries) {
    int status = 0;
    const auto got = sys::wait4(tid, &status, sys::abi::w_all | sys::abi::w_nohang);
    if (!got.ok() && got.error() != errc::interrupted) return errc::gone;
    if (got.ok() && *got == tid) {
      if ((status & 0xff) != 0x7f) return errc::gone;
      return status;
    }
    if (tries >= 0) (void)sys::nanosleep({0, tries < 4 ? 10'000 : 50'000});
  }
  return errc::busy;
}
inline int signal_of_stop(int status) {
  return status >> 8 & 0xff;
}

/// Waits until an interrupted thread stands still. A signal that is on its way to the thread is
/// delivered first: left out, it would be lost.
// Context: helper
inline result<void> wait_stopped(int tid, int patience) {
  for (;;) {
    const int status = CKPT_TRY(wait_for_stop(tid, patience));
    if (status >> 16 == sys::abi::ptrace_event_stop) return {};
    (void)sys::ptrace(sys::abi::ptrace_cont, tid, 0, signal_of_stop(status));
  }
}
/// 50 ms: a thread inside vfork(2) would hold everything for as long as its child likes.
inline constexpr int patience_to_stop = 1000;

/// Visits the number of each thread, as that /proc has it.
// Context: helper
template <class Visitor>
result<void> for_each_thread(std::string_view proc, Visitor&& visit) {
  fixed_text<64> path;
  path.append(proc).append("/task");
  const sys::unique_fd dir(
      CKPT_TRY(sys::openat(sys::abi::at_fdcwd, path.c_str(),
                           sys::abi::o_rdonly | sys::abi::o_directory | sys::abi::o_cloexec)));
  char buffer[4096];
  for (;;) {
    const u64 got = CKPT_TRY(sys::getdents64(dir.get(), buffer, sizeof buffer));
    if (got == 0) return {};
    for (u64 at = 0; at < got;) {
      sys::abi::dirent64 d{};
      std::memcpy(&d, buffer + at, sys::abi::dirent64_name_offset);
      const auto tid = parse_number(buffer + at + sys::abi::dirent64_name_offset);
      at += d.d_reclen;
      if (tid.ok()) CKPT_TRY(visit(static_cast<int>(*tid)));
    }
  }
}

/// Every thread of the program but the triggering one, held by ptrace. When the helper ends, the
/// kernel lets go of all of them.
class frozen_threads {
 public:
  explicit frozen_threads(session& s) : s_(s), layout_(state::extended_layout::of_this_task()) {}

  [[nodiscard]] const state::extended_layout& layout() const { return layout_; }
  /// False when the main thread has ended while others go on.
  [[nodiscard]] bool has_leader() const { return !leader_gone_; }
  [[nodiscard]] u32 count() const { return alive_; }

  /// Stops all, or refuses and holds none. s.stuck names the thread for whose sake another try may
  /// be worth it.
  // Context: helper
  result<void> stop() {
    if (s_.traced) return count_while_traced();
    // A thread that is being born while others stop is seen by the next pass.
    for (bool grown = true; grown;) {
      grown = false;
      const auto listed = for_each_thread(s_.proc.view(), [&](int outer) -> result<void> {
        if (is_known(outer)) return {};
        grown = true;
        return meet(outer);
      });
      if (!listed.ok())
        return s_.why.explain(listed.error(), "cannot hold the threads in ", s_.proc.view(),
                              "/task");
      first_pass_ = false;
      if (grown) CKPT_TRY(wait_for_all());
    }
    return {};
  }

  /// visit(slot) for each thread that stands still; stops at the first error.
  template <class Visitor>
  result<void> for_each(Visitor&& visit) {
    for (thread_slot* t = first_; t != nullptr; t = t->next)
      if (t->held) CKPT_TRY(visit(*t));
    return {};
  }

  /// One that has ended although it had been stopped: killed, or let on for a step.
  void forget(thread_slot& t) {
    leader_gone_ = leader_gone_ || t.tid == s_.program;
    t.held = false;
    --alive_;
  }

  /// By whoever, as /proc has it.
  bool is_traced(int outer) {
    char text[4096];
    fixed_text<64> path;
    path.append(s_.proc.view()).append("/task/").append(outer).append("/status");
    const auto status = read_text(path.c_str(), text);
    return status.ok() && proc::status_tracer(*status).value_or(0) != 0;
  }

  /// Of whoever cannot be let go the kernel lets go when we end, which is soon; not before the
  /// triggering thread has heard what became of the image.
  // Context: helper
  void release() {
    for (thread_slot* t = first_; t != nullptr; t = t->next) {
      if (t->held) (void)sys::ptrace(sys::abi::ptrace_detach, t->tid, 0, 0);
      t->held = false;
    }
  }

 private:
  [[nodiscard]] bool is_known(int outer) {
    if (first_pass_) return false;
    // Both lists are in the order in which threads were made, so the next is nearly always right.
    if (hint_ != nullptr && hint_->next != nullptr && hint_->next->outer_tid == outer) {
      hint_ = hint_->next;
      return true;
    }
    for (thread_slot* t = first_; t != nullptr; t = t->next)
      if (t->outer_tid == outer) {
        hint_ = t;
        return true;
      }
    return false;
  }

  result<void> meet(int outer) {
    thread_slot& t =
        *new (CKPT_TRY(s_.arena.take_aligned(sizeof(thread_slot), alignof(thread_slot))).data())
            thread_slot;
    t.outer_tid = outer;
    t.tid = CKPT_TRY(number_inside(outer));
    t.next = nullptr;
    if (last_ != nullptr)
      last_->next = &t;
    else
      first_ = &t;
    last_ = &t;
    if (t.tid == s_.thread) return {};
    const auto seized = sys::ptrace(sys::abi::ptrace_seize, t.tid, 0, 0);
    if (!seized.ok()) {
      // Whoever asks for a checkpoint from outside holds a thread for an instant.
      if (is_traced(outer)) s_.stuck = t.tid;
      if (!wait_for_end(t))
        return state::refuse_unstoppable_thread(s_.why, t.tid, seized.error());
      if (t.tid == s_.program) leader_gone_ = true;
      return {};
    }
    t.held = true;
    // No tracer can let a running thread go: what cannot be stopped is let go by our end.
    if (!sys::ptrace(sys::abi::ptrace_interrupt, t.tid, 0, 0).ok()) t.held = !has_ended(t);
    return {};
  }

  /// A /proc of another PID namespace has other numbers than the program.
  result<int> number_inside(int outer) {
    if (s_.outer_pid_number == s_.program) return outer;
    char text[4096];
    fixed_text<64> path;
    path.append(s_.proc.view()).append("/task/").append(outer).append("/status");
    return proc::status_innermost_pid(CKPT_TRY(read_text(path.c_str(), text)));
  }
  [[nodiscard]] result<proc::stat_fields> stat_of(int outer) const {
    char text[1024];
    fixed_text<64> path;
    path.append(s_.proc.view()).append("/task/").append(outer).append("/stat");
    auto fields = CKPT_TRY(proc::parse_stat(CKPT_TRY(read_text(path.c_str(), text))));
    fields.comm = {};  // lies in `text`
    return fields;
  }
  /// False for a thread that lives. One that is on its way out lets nobody trace it from a moment
  /// before it counts as ended, and that moment is as long as the machine is busy.
  bool wait_for_end(const thread_slot& t) const {
    constexpr int tries = 10'000;
    for (int i = 0; i < tries; ++i) {
      const auto stat = stat_of(t.outer_tid);
      if (!stat.ok()) return has_ended(t);
      if (stat->state == 'Z' || stat->state == 'X') return true;
      if ((stat->flags & proc::task_exiting) == 0) return has_ended(t);
      (void)sys::nanosleep({0, 100'000});
    }
    return false;
  }
  bool has_ended(const thread_slot& t) const {
    constexpr auto no_such_process = static_cast<errc>(3);
    const auto there = sys::checked<void>(sys::invoke(__NR_tgkill, s_.program, t.tid, 0));
    return there.error() == no_such_process;
  }

  result<void> wait_for_all() {
    alive_ = 1;
    for (thread_slot* t = first_; t != nullptr; t = t->next) {
      if (!t->held) continue;
      ++alive_;
      if (t->stopped) continue;
      auto outcome = wait_stopped(t->tid, patience_to_stop);
      // One that waits for a processor on a busy machine will stop as soon as it gets one.
      for (int more = 0; outcome.error() == errc::busy && more < 40; ++more) {
        const auto stat = stat_of(t->outer_tid);
        if (!stat.ok() || stat->state != 'R') break;
        outcome = wait_stopped(t->tid, patience_to_stop);
      }
      t->stopped = outcome.ok();
      if (outcome.error() == errc::gone) {
        // The main thread stays as a zombie for as long as others live.
        leader_gone_ = leader_gone_ || t->tid == s_.program;
        t->held = false;
        --alive_;
        continue;
      }
      if (outcome.ok()) continue;
      s_.stuck = t->tid;
      return s_.why.refuse("thread ", t->tid,
                           " does not stop (inside vfork, or in a call that "
                           "nothing interrupts); try again when it has come back");
    }
    return {};
  }

  /// Under a debugger ptrace is not ours. The triggering thread needs none; others do.
  result<void> count_while_traced() {
    u32 count = 0;
    const auto listed = for_each_thread(s_.proc.view(), [&](int) -> result<void> {
      ++count;
      return {};
    });
    if (!listed.ok())
      return s_.why.explain(listed.error(), "cannot list the threads in ", s_.proc.view(), "/task");
    if (count > 1) {
      s_.stuck = s_.thread;  // whoever asks from outside holds it for an instant only
      return state::refuse_traced_threads(s_.why, count);
    }
    return {};
  }

  session& s_;
  state::extended_layout layout_;
  thread_slot* first_ = nullptr;
  thread_slot* last_ = nullptr;
  thread_slot* hint_ = nullptr;
  u32 alive_ = 1;
  bool leader_gone_ = false;
  bool first_pass_ = true;
};

}  // namespace ckpt::agent
