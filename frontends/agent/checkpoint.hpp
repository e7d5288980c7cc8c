// SPDX-License-Identifier: MIT
//
// The second entry: the trigger has come. Looks whether a checkpoint may begin, makes the helper by
// way of the starter, and takes turns with it.
#pragma once

#include "capture_self.hpp"
#include "helper.hpp"
#include "image_name.hpp"
#include "interrupted_call.hpp"
#include "outside.hpp"
#include "timed_call.hpp"
#include "trigger_watch.hpp"

namespace ckpt::agent {

// Context: helper
inline void helper_main(void*) {
  (void)sys::prctl(sys::abi::pr_set_name, "ckpt-helper");
  // Until somebody has waited for us, which may take long, a number that is the program's own would
  // be in use by our group and session, and a restart could not have it.
  (void)sys::setsid();
  alignas(helper) std::byte room[sizeof(helper)];
  auto* h = new (room) helper(current(), state_of_agent.generation);
  h->run();
  sys::exit_group(0);
}

constexpr int not_started = -1;

/// Makes the helper and waits for leave to end: the helper is then nobody's child but init's.
// Context: starter, a process that shares the program's memory for an instant
inline void starter_main(void*) {
  const u64 flags = sys::abi::clone_vm | sys::abi::clone_untraced | sys::abi::clone_parent_settid |
                    sys::abi::clone_child_cleartid;
  const long made = start_task(flags, agent_helper_stack_end, &current().helper, &current().helper,
                               &helper_main, nullptr);
  if (made < 0) {
    current().start_error = static_cast<errc>(-made);
    __atomic_store_n(&current().helper, 0, __ATOMIC_RELEASE);
  }
  (void)sys::futex_wake(reinterpret_cast<u32*>(&current().helper), 1);
  (void)current().turn.wait_for(phase::self_capture, [] { return current().helper_alive(); });
  sys::exit(0);
}

/// Reads what decides whether a checkpoint may begin at all, with calls that every filter knows.
// Context: signal handler
[[gnu::cold]] inline result<void> look_before(session& s) {
  char text[8192];
  const auto status = read_text("/proc/thread-self/status", text);
  if (!status.ok())
    return s.why.explain(status.error(),
                         "cannot read /proc/thread-self/status (is /proc mounted?)");
  s.program = proc::status_process(*status).value_or(0);  // for the line
  if (state_of_agent.privileged)
    return s.why.refuse("the program is set-user-ID, set-group-ID or has capabilities; what it may write is "
                        "not for who has started it to choose; run a copy without");
  s.filtered = proc::status_seccomp(*status).value_or(0) != 0 && !state_of_agent.config.try_seccomp;
  state_of_agent.output.be_careful(s.filtered);
  if (s.filtered)
    return state::refuse_filtered_program(s.why);
  s.program = sys::getpid();
  s.thread = sys::gettid();
  s.started_ns = static_cast<u64>(state::nanoseconds_of(sys::abi::clock_monotonic));
  s.traced = proc::status_tracer(*status).value_or(0) != 0;
  s.umask = proc::status_umask(*status).value_or(022);
  char link[32];
  const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self", link, sizeof link);
  if (!size.ok()) return s.why.explain(size.error(), "cannot read the link /proc/self");
  s.proc.clear();
  s.proc.append("/proc/").append(std::string_view(link, *size));
  s.outer_pid.clear();
  s.outer_pid.append(std::string_view(link, *size));
  s.outer_pid_number = static_cast<int>(parse_number(s.outer_pid.view()).value_or(0));
  const auto task = sys::readlinkat(sys::abi::at_fdcwd, "/proc/thread-self", link, sizeof link);
  if (!task.ok()) return s.why.explain(task.error(), "cannot read the link /proc/thread-self");
  s.self.clear();
  const std::string_view of_task(link, *task);
  s.self.append("/proc/").append(of_task);
  s.outer_thread =
      static_cast<int>(parse_number(of_task.substr(of_task.rfind('/') + 1)).value_or(0));
  return {};
}

/// The program never had this child: neither its end nor the signal of it may be seen.
// Context: triggering thread, all signals blocked
inline void forget_adopted(int helper, u64 pending_before) {
  (void)sys::wait4(helper, nullptr, sys::abi::w_all);
  constexpr u64 child_signal = u64{1} << (sys::abi::sig_chld - 1);
  sys::abi::siginfo info{};
  if ((pending_before & child_signal) == 0) (void)sys::rt_sigtimedwait(child_signal, info, {0, 0});
}

/// A thread of SCHED_DEADLINE may make no other task unless that one starts without the deadline.
// Context: triggering thread
inline void let_deadline_clone(session& s, bool leave) {
  constexpr u32 sched_deadline = 6;
  sys::abi::sched_attr a{};
  if (!sys::sched_getattr(0, a, sizeof a).ok() || a.policy != sched_deadline) return;
  const bool set = (a.flags & sys::abi::sched_flag_reset_on_fork) != 0;
  if (leave == set) return;
  a.flags ^= sys::abi::sched_flag_reset_on_fork;
  s.deadline_lent = leave && sys::sched_setattr(0, a).ok();
  if (!leave) (void)sys::sched_setattr(0, a);
}

/// Every thread has long returned to the program from the frames of a restart.
// Context: triggering thread, all others frozen
inline void note_freeze(const session& s) {
  // Stepping a thread makes a SIGTRAP that the program ignores one by default.
  if (s.trap_action.handler == sys::abi::sig_ign)
    (void)sys::rt_sigaction(sys::abi::sig_trap, &s.trap_action, nullptr);
  auto& frames = state_of_agent.frames;
  if (!frames.empty()) (void)sys::munmap(frames.begin, frames.length());
  frames = {};
  state_of_agent.reports.release();
}

/// Whether the helper could be made; afterwards it works or has said why not.
// Context: signal handler, on the agent's stack
inline result<void> run_helper(session& s) {
  if (auto r = s.arena.reserve(); !r.ok())
    return s.why.explain(r.error(), "cannot reserve working memory");
  s.metadata = format::metadata_builder(s.arena.bottom());
  // The helper must not become the child of a program that adopts orphans.
  (void)sys::prctl(sys::abi::pr_get_child_subreaper, &s.child_subreaper, 0, 0, 0);
  if (s.child_subreaper != 0) (void)sys::prctl(sys::abi::pr_set_child_subreaper, 0, 0, 0, 0);
  s.dumpable = state::current_setting(sys::abi::pr_get_dumpable);
  if (s.dumpable == 0) (void)sys::prctl(sys::abi::pr_set_dumpable, 1, 0, 0, 0);

  let_deadline_clone(s, true);
  (void)sys::rt_sigaction(sys::abi::sig_trap, nullptr, &s.trap_action);
  u64 pending = 0;  // before there is a helper whose end could be among it
  (void)sys::rt_sigpending(pending);
  const long starter =
      start_task(sys::abi::clone_vm | sys::abi::clone_untraced, agent_starter_stack_end, nullptr,
                 nullptr, &starter_main, nullptr);
  int helper_pid = 0;
  bool cut_short = false;
  auto outcome = [&]() -> result<void> {
    if (starter < 0)
      return s.why.explain(static_cast<errc>(-starter), "cannot start the helper process");
    while (__atomic_load_n(&s.helper, __ATOMIC_ACQUIRE) == not_started) {
      const sys::abi::timespec bound{0, 1'000'000};
      (void)sys::futex_wait(reinterpret_cast<u32*>(&s.helper), static_cast<u32>(not_started),
                            &bound);
      // A starter that was killed has made none, or its number is there by now.
      const auto ended =
          sys::wait4(static_cast<int>(starter), nullptr, sys::abi::w_all | sys::abi::w_nohang);
      if (!ended.ok() || *ended == 0) continue;
      int none = not_started;
      __atomic_compare_exchange_n(&s.helper, &none, 0, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    if (!s.helper_alive() && s.turn.get() == phase::starting) {
      (void)sys::wait4(static_cast<int>(starter), nullptr, sys::abi::w_all);
      if (s.start_error == errc::none)
        return s.why.refuse("the helper process died (out of memory, or killed)");
      return s.why.explain(s.start_error,
                           "cannot start the helper process (a limit on processes, RLIMIT_NPROC?)");
    }
    helper_pid = s.helper;
    (void)sys::prctl(sys::abi::pr_set_ptracer, helper_pid);  // EINVAL where there is no Yama
    s.turn.set(phase::freezing);
    const bool frozen = s.turn.wait_for(phase::self_capture, [&] { return s.helper_alive(); });
    // Nothing else runs now, so nobody else can wait for the starter.
    (void)sys::wait4(static_cast<int>(starter), nullptr, sys::abi::w_all);
    if (s.stuck != 0) return errc::busy;
    cut_short = !frozen;
    if (!frozen) return s.why.refuse("the helper process died (out of memory, or killed)");
    if (s.good) note_freeze(s);
    // Who came first counts: a thread that holds now has got through before it was frozen.
    if (s.good && state_of_agent.hold.held()) {
      s.good = false;
      (void)s.why.refuse(held_off);
      s.held_off = true;
    }
    if (s.good) state_of_agent.last.begin(s.goes_on, s.name_mark);
    if (s.good)
      if (auto r = capture_self(); !r.ok()) {
        s.good = false;
        (void)s.why.explain(r.error(), "cannot capture the thread");
      }
    s.turn.set(phase::writing);
    if (!s.turn.wait_for(phase::done, [&] { return s.helper_alive(); })) {
      sweep_after_helper(s);
      return s.why.refuse("the helper process died (out of memory, or killed)");
    }
    if (!s.good) return errc::refused;
    return {};
  }();
  // The helper holds the other threads until this one has ended the process.
  if (outcome.ok() && !s.goes_on) return outcome;
  const bool adopted = helper_pid > 0 && helper_is_child(helper_pid);
  while (starter > 0 && s.helper_alive()) {
    const sys::abi::timespec bound{0, 5'000'000};
    const u32 now = static_cast<u32>(__atomic_load_n(&s.helper, __ATOMIC_ACQUIRE));
    if (now != 0) (void)sys::futex_wait(reinterpret_cast<u32*>(&s.helper), now, &bound);
    else (void)sys::nanosleep({0, 500'000});
  }
  if (adopted) forget_adopted(helper_pid, pending);
  if (s.rseq.address != 0) (void)sys::rseq(s.rseq.address, s.rseq.size, 0, s.rseq.signature);
  (void)sys::prctl(sys::abi::pr_set_ptracer, 0);
  if (s.deadline_lent) let_deadline_clone(s, false);
  if (s.dumpable == 0) (void)sys::prctl(sys::abi::pr_set_dumpable, 0, 0, 0, 0);
  if (s.child_subreaper != 0) (void)sys::prctl(sys::abi::pr_set_child_subreaper, 1, 0, 0, 0);
  if (cut_short) state_of_agent.reports.keep(s.arena.whole());
  else s.arena.release();
  return outcome;
}

/// True when the registers are mended so that the call which the trigger interrupted is made again.
// Context: signal handler
inline bool make_call_again(sys::abi::ucontext& context, int trigger, bool filtered) {
  auto& regs = context.uc_mcontext;
  if (static_cast<i64>(regs.rax) != -4 /* EINTR */) return false;
  const copied_memory read(filtered);
  if (go_on_with_timed_call(read, regs)) return true;
  const u64 number =
      reissue_interrupted_call(read, context, trigger, reinterpret_cast<u64>(&trigger_entry));
  // A filter that may kill for anything unusual is not asked whether memory may be written so.
  if (number != not_found && !filtered)
    (void)make_timed_call(read, number, regs, timed_detail::room_for_frame(context));
  return number != not_found;
}

inline session& new_session(sys::abi::ucontext& context) {
  auto& s = *new (static_cast<void*>(agent_session_room)) session{};
  s.helper = not_started;
  s.context = &context;
  s.try_filtered = state_of_agent.config.try_seccomp;
  return s;
}

/// How long to wait for a thread that did not stop, from one try to the next.
constexpr i64 patience_ms[] = {5, 30, 100, 300, 600};

/// Who asks for a checkpoint, and when that was.
struct wish {
  bool by_call = false;  // the program's thread is at agent_ask, not in a handler
  bool waits = true;     // for the last release, while checkpoints are held off
  bool by_period = false;
  bool goes_on = false;
  u32 freezes_then = 0;  // agent_freezes, before others were waited for
  outside_box* outside = nullptr;  // who asks from outside wants an answer
  std::string_view name = {};      // a pattern for this checkpoint only; empty for the configured one

  [[nodiscard]] u64 mark() const {
    return mark_of_name(name.empty() ? state_of_agent.config.name.view() : name);
  }
};

inline bool goes_on(bool by_period) {
  const auto& c = state_of_agent.config;
  return c.continues || (by_period && !c.continues_given);
}
inline wish wish_of(const sys::abi::siginfo& info, u32 freezes_then) {
  if (auto* const box = outside_request(info); box != nullptr)
    return {.waits = false,
            .goes_on = box->goes_on != 0,
            .freezes_then = freezes_then,
            .outside = box,
            .name = {box->name, box->name_length}};
  const bool by_period = state_of_agent.period.raised(info);
  return {.by_period = by_period, .goes_on = goes_on(by_period), .freezes_then = freezes_then};
}
/// What was put off while somebody held checkpoints off.
inline wish wish_of_note(u32 note) {
  const bool by_period = (note & hold::by_request) == 0;
  return {.by_call = true,
          .by_period = by_period,
          .goes_on = goes_on(by_period),
          .freezes_then = agent_freezes};
}

inline bool is_met(const wish& w) {
  return w.freezes_then != agent_freezes && state_of_agent.last.meets(w.goes_on, w.mark());
}

/// Nothing is noted for who waits for an answer: he asks again.
// Context: triggering thread, with the agent's lock
inline bool may_begin_outside(outside_box& box) {
  if (!outside_is_wanted(box)) return false;
  if (!state_of_agent.hold.held()) return true;
  answer_outside(box, outside_outcome::held, "", 0, 0, false);
  return false;
}

/// False when it is not for this thread: another's checkpoint has met it meanwhile, or it is put
/// off.
// Context: triggering thread, with the agent's lock
inline bool may_begin(const wish& w) {
  auto& me = state_of_agent;
  if (w.outside != nullptr) return may_begin_outside(*w.outside);
  if (is_met(w)) return false;
  if (w.by_period && !me.period.on()) return false;  // a tick from before it was cancelled
  return !w.waits || !me.hold.put_off(w.by_period ? hold::by_period : hold::by_request);
}

/// An image that goes elsewhere must not overtake the one before. A program that is to go on does not
/// stand still for it.
// Context: triggering thread, on the agent's stack
inline result<void> wait_for_carrier(session& s, const wish& w) {
  if (!options::goes_elsewhere(s.final_name.view())) return {};
  // The first process of a namespace would get ckpt-transfer as its child.
  s.may_lag = w.goes_on && !w.by_call && w.outside == nullptr && sys::getpid() != 1;
  while (carrier_is_under_way()) {
    if (s.may_lag)
      return s.why.refuse("the image before is still on its way to ", quoted{s.final_name.view()},
                          " (process ", state_of_agent.naming.carrier, ")");
    (void)sys::nanosleep({0, 5'000'000});
  }
  return {};
}

/// Makes the image and ends the program, if it is not to go on; false when there is none.
/// `looked` is what look_before() has found for the session.
// Context: triggering thread, on the agent's stack
inline bool make_image(const wish& w, sys::abi::ucontext& context, result<void> looked,
                       bool made_again) {
  auto& me = state_of_agent;
  auto& s = current();
  auto outcome = looked;
  const bool looked_well = outcome.ok();  // a filter may know no timers
  if (looked_well) me.period.hold();
  const auto attempt = [&]() -> result<void> {
    s.made_again = made_again;
    s.goes_on = w.goes_on;
    s.name_mark = w.mark();
    // Below the red zone of who calls, below the frame of a signal: free now, and after a restart.
    constexpr u64 below = 128 + kept_for_timed_frame;
    const bool below_it = w.by_call || w.outside != nullptr;
    me.callbacks.note_place(
        s.thread, (below_it ? context.uc_mcontext.rsp : reinterpret_cast<u64>(&context)) - below);
    CKPT_TRY(choose_name(s, w.name));
    CKPT_TRY(wait_for_carrier(s, w));
    // Now, for the image: who is restarted from it asks, too.
    me.error.clear();
    close_outside_box(true);
    const auto made = run_helper(s);
    if (!made.ok() || w.goes_on) close_outside_box(false);
    return made;
  };
  if (outcome.ok()) outcome = attempt();
  for (const i64 wait : patience_ms) {
    if (s.stuck == 0) break;
    (void)sys::nanosleep({0, wait * 1'000'000});
    new_session(context);
    outcome = look_before(s);
    if (outcome.ok()) outcome = attempt();
  }
  if (looked_well) me.period.go_on();
  settle_name(s, outcome.ok());
  if (!outcome.ok()) {
    me.last.failed();
    me.error.set(s.why.line());
    if (s.held_off) {
      if (w.outside != nullptr) answer_outside(*w.outside, outside_outcome::held, "", 0, 0, false);
      return false;
    }
    fixed_text<1600> line;
    line.append("no checkpoint of process ").append(s.program).append(": ").append(s.why.line());
    line.append("; the program goes on");
    // What stops one checkpoint of the period stops the next.
    const u64 told = w.by_period ? mark_of_name(s.why.line()) : 0;
    const bool again = told != 0 && told == me.told_of_tick;
    me.told_of_tick = told;
    if (w.outside != nullptr)
      answer_outside(*w.outside, outside_outcome::refused, line.view(), 0, 0, false);
    else if (!again)
      say(line.view());
    return false;
  }
  const u64 ms =
      (static_cast<u64>(state::nanoseconds_of(sys::abi::clock_monotonic)) - s.started_ns) / 1'000'000;
  if (w.outside != nullptr) {
    answer_outside(*w.outside, outside_outcome::complete, s.final_name.view(), s.image_size, ms,
                   !w.goes_on);
  } else if (me.config.verbose) {
    fixed_text<1600> line;
    line.append("checkpoint ").append(quoted{s.final_name.view()}).append(", ");
    line.append(s.image_size).append(" bytes, ").append(ms).append(" ms, of which the program stood still ");
    line.append(s.frozen_ns / 1'000'000).append(" ms");
    note(line.view());
    tell_trigger_taken(true, false);
  }
  if (!w.goes_on) sys::exit_group(0);
  me.last.went_on();
  return true;
}

/// The same again when somebody has begun to hold checkpoints off in the middle, and holds no more.
// Context: triggering thread, on the agent's stack
inline bool checkpoint(const wish& w, sys::abi::ucontext& context, result<void> looked,
                       bool made_again) {
  for (;;) {
    if (make_image(w, context, looked, made_again)) return true;
    if (!current().held_off || !w.waits ||
        state_of_agent.hold.put_off(w.by_period ? hold::by_period : hold::by_request))
      return false;
    auto& s = new_session(context);
    looked = look_before(s);
  }
}

/// A signal has asked. Whether the call that it has interrupted is to be made again.
// Context: signal handler, on the agent's stack
inline bool checkpoint_by_signal(const sys::abi::siginfo& info, sys::abi::ucontext& context,
                                 u32 freezes_then, decision decided) {
  const wish w = wish_of(info, freezes_then);
  auto& s = new_session(context);
  const auto looked = look_before(s);
  // Before the capture: the image must hold the mended registers too.
  const bool made_again = w.outside != nullptr
                              ? mend_outside_frame(context, s.filtered)
                              : make_call_again(context, info.si_signo, s.filtered);
  if (decided == decision::open ? may_begin(w) : decided == decision::begin)
    (void)checkpoint(w, context, looked, made_again);
  return made_again;
}

/// The program has asked by a call.
// Context: triggering thread, on the agent's stack
inline bool checkpoint_by_call(const wish& w, sys::abi::ucontext& context) {
  auto& s = new_session(context);
  const auto looked = look_before(s);
  return checkpoint(w, context, looked, false);
}

}  // namespace ckpt::agent
