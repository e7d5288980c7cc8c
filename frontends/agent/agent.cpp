// SPDX-License-Identifier: MIT
//
// The agent: the part of ckpt that lives in the program. It needs nothing, neither a libc nor a
// loader's help beyond relocation, so that one object serves every way in.
//
// Three entries: agent_load when the library is loaded, trigger_main when the trigger signal
// arrives, resume_main when an image has put the memory back. You may not allocate, lock, or touch
// thread-local storage in any of them.

#include "ckpt/image/metadata_view.hpp"
#include "ckpt/state/files/restore.hpp"
#include "config.hpp"
#include "environment.hpp"
#include "helper.hpp"
#include "interrupted_call.hpp"
#include "output.hpp"
#include "period.hpp"
#include "restore_threads.hpp"
#include "rseq_probe.hpp"
#include "session.hpp"
#include "symbols.hpp"
#include "taken_handover.hpp"
#include "timed_call.hpp"

namespace ckpt::agent {
namespace {

/// Everything the agent remembers from one checkpoint to the next. It is part of the image, so a
/// restarted program has the same configuration.
struct agent_state {
  agent::config config;
  agent::output output;
  agent::period period;
  bool went_on = false;  // the last checkpoint was made to go on
  int home = 0;  // the process that owns the name; a forked child writes NAME.PID
  bool child_told = false;
  u32 generation = 0;
  range frames;  // from which the threads of a restart have returned to the program
};
constinit agent_state state_of_agent{};
static_assert(sizeof(session) <= 32 * 1024, "the room agent.S keeps for it");
// In memory that no image contains: it changes while the image is written.
session& current() { return *reinterpret_cast<session*>(agent_session_room); }

void say(std::string_view text) {
  state_of_agent.output.line(text, state_of_agent.config.log.view());
}

// --- load ------------------------------------------------------------------------------------

void complain_of_length(std::string_view variable, u64 length) {
  fixed_text<256> line;
  line.append(variable).append(" has ").append(length);
  line.append(" characters; a name may have 1023, so it is ignored");
  say(line.view());
}
void complain(std::string_view variable, std::string_view value, std::string_view meaning) {
  fixed_text<1024> line;
  line.append(variable).append('=').append(quoted{value.substr(0, 200)});
  line.append(" means nothing and is ignored (").append(meaning).append(')');
  say(line.view());
}

/// "once per process tree under an inherited LD_PRELOAD": the value is taken out of what children
/// inherit, by emptying it where it stands.
void read_variables(const initial_stack& stack) {
  for (const auto& o : options::table) {
    if ((o.readers & options::agent) == 0 || o.variable.empty()) continue;
    char* value = stack.variable(o.variable);
    if (value == nullptr || *value == '\0') continue;
    if (state_of_agent.config.set(o.id, value)) continue;
    if (const std::string_view text(value); o.id == options::id::name && text.size() > 1023)
      complain_of_length(o.variable, text.size());
    else
      complain(o.variable, text, o.meaning);
    *value = '\0';
  }
}

struct users_preload {
  std::string_view value;
  bool there = false;
};

/// The ckpt command's own options.
users_preload read_options(std::string_view rest) {
  users_preload preload;
  while (!rest.empty()) {
    const auto end = rest.find(launch_separator);
    const auto field = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos) continue;
    const auto key = field.substr(0, equals);
    const auto value = field.substr(equals + 1);
    if (key == launch_preload) preload = {value, true};
    for (const auto& o : options::table)
      if (o.long_name == key) (void)state_of_agent.config.set(o.id, value);
  }
  return preload;
}

/// Reads the command's options and takes its traces away, so that children see the environment the
/// user had.
void read_launch(const initial_stack& stack) {
  char* launch = stack.variable(launch_variable);
  if (launch == nullptr) return;
  const auto preload = read_options(launch);
  if (char* now = stack.variable("LD_PRELOAD"); preload.there && now != nullptr) {
    // Ours stood before the user's, so the user's fits.
    std::memcpy(now, preload.value.data(), preload.value.size());
    now[preload.value.size()] = '\0';
  } else {
    stack.remove("LD_PRELOAD");
  }
  stack.remove(launch_variable);
}

void default_name(const initial_stack& stack) {
  auto& name = state_of_agent.config.name;
  if (name.empty()) {
    char link[name_capacity];
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self/exe", link, sizeof link);
    std::string_view program = size.ok() ? std::string_view(link, *size) : stack.argument(0);
    // A script's name says more than its interpreter's, but the old command took the program's.
    if (const auto invoked = stack.argument(0); !invoked.empty()) program = invoked;
    if (const auto slash = program.rfind('/'); slash != std::string_view::npos)
      program.remove_prefix(slash + 1);
    if (program.empty()) program = "program";
    name.append(program).append(".ckpt");
  }
  make_absolute(name);
}

result<void> install_trigger(int signal) {
  sys::abi::kernel_sigaction action{};
  action.handler = reinterpret_cast<u64>(&trigger_entry);
  action.flags = sys::abi::sa_siginfo | sys::abi::sa_onstack | sys::abi::sa_restart |
                 sys::abi::sa_restorer;
  action.restorer = reinterpret_cast<u64>(&trigger_restorer);
  action.mask = ~u64{0};
  return sys::rt_sigaction(signal, &action, nullptr);
}

void load(injected* given) {
  auto& me = state_of_agent;
  me.output.remember();
  if (given != nullptr) given->begin_alone = reinterpret_cast<u64>(&agent_begin_alone);
  const auto stack = initial_stack::find();
  if (!stack.ok()) {
    say("cannot read /proc/self/stat, so this program cannot be checkpointed (is /proc mounted?)");
    return;
  }
  read_variables(*stack);
  if (given == nullptr)
    read_launch(*stack);
  else
    (void)read_options({reinterpret_cast<const char*>(given->options), given->options_length});
  default_name(*stack);
  make_absolute(me.config.log);
  me.home = sys::getpid();
  if (me.config.signal != 0) (void)install_trigger(me.config.signal);
  if (me.config.period_ms != 0) {
    const int signal = me.config.signal != 0 ? me.config.signal : options::last_real_time;
    if (me.config.signal == 0) (void)install_trigger(signal);
    me.period.start(signal, me.config.period_ms);
  }
}

// --- checkpoint ------------------------------------------------------------------------------

// Context: helper
void helper_main(void*) {
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
void starter_main(void*) {
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


constexpr int any_child = sys::abi::w_exited | sys::abi::w_stopped | sys::abi::w_continued |
                          sys::abi::w_nohang | sys::abi::w_nowait | sys::abi::w_all;

/// In a container the program may be process 1, which inherits orphans: then the helper is its child.
bool helper_is_child(int helper) {
  sys::abi::siginfo info{};
  return sys::waitid(sys::abi::p_pid, helper, info, any_child).ok();
}

/// A child cannot be in the image, and without it the program's wait would fail.
result<void> refuse_children(session& s) {
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
  return s.why.refuse("the program has a child process", first.empty() ? "" : " (", first,
                      first.empty() ? "" : ")",
                      ", alive or not yet waited for; checkpoint it when it has none");
}

/// The number by which the program knows a thread that /proc names.
int inner_tid(const session& s, i32 outer) {
  if (s.outer_pid_number == s.program) return outer;
  char text[4096];
  fixed_text<64> path;
  path.append(s.proc.view()).append("/task/").append(outer).append("/status");
  const auto status = read_text(path.c_str(), text);
  return status.ok() ? proc::status_innermost_pid(*status).value_or(outer) : outer;
}

/// Signals that wait for the program although its agent's own timer sent them.
bool is_own_tick(const sys::abi::siginfo& info) {
  return state_of_agent.period.raised(info);
}

sys::abi::siginfo info_of(const state::pending_signal& p) {
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

/// How often a timer has fired while its signal waits is told only to who takes the signal: it is
/// taken, and with all others of its number put back.
// Context: triggering thread, all others frozen
result<void> count_pending_expirations(session& s, std::span<state::captured_timer> timers) {
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
  image::for_each<state::pending_signal>(
      s.metadata.view(), [&](const state::pending_signal& p, bytes) {
        const auto info = info_of(p);
        if (p.thread != 0 && p.thread != s.thread) return note_others_signal(info);
        ++queued[p.signal];
        if (state::is_from_timer(info) && !is_own_tick(info)) numbers |= u64{1} << (p.signal - 1);
      });
  for (int number = 1; number <= sys::abi::signal_count; ++number) {
    if ((numbers >> (number - 1) & 1) == 0) continue;
    state::take_signals(number, queued[number], [&](const sys::abi::siginfo& info) {
      auto* t = state::is_from_timer(info) ? captured_with(state::timer_id_of(info)) : nullptr;
      if (t == nullptr || is_own_tick(info)) return;
      const i64 now = state::nanoseconds_of(t->record.clock);
      // Taking the signal has started a periodic timer again; it waits until it is put back.
      (void)sys::timer_settime(t->record.id, 0, {{0, 0}, {0, 0}});
      state::note_pending(*t, info, now);
    });
    // What has just been taken leaves room for it.
    (void)queue_signals(s.metadata.view(), number, s.thread, s.program, s.thread, timer_with);
  }
  return {};
}

/// Timers of timer_create(2) other than the agent's own.
// Context: triggering thread, all others frozen
result<void> capture_posix_timers(session& s) {
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
result<void> capture_settings(session& s) {
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
  of_thread.runtime_ns = s.own_slice == s.default_slice ? 0 : s.own_slice;
  if (s.deadline_lent)
    of_thread.sched_flags = of_thread.sched_flags & ~sys::abi::sched_flag_reset_on_fork;
  return s.metadata.add(of_thread, free ? bytes() : processors.view());
}

/// What the thread must say of itself; all others are stopped.
// Context: triggering thread, all others frozen
result<void> capture_self() {
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

/// Reads what decides whether a checkpoint may begin at all, with calls that every filter knows.
// Context: signal handler
result<void> look_before(session& s) {
  char text[8192];
  const auto status = read_text("/proc/thread-self/status", text);
  if (!status.ok())
    return s.why.explain(status.error(), "cannot read /proc/thread-self/status (is /proc mounted?)");
  s.program = proc::status_process(*status).value_or(0);  // for the line
  s.filtered =
      proc::status_seccomp(*status).value_or(0) != 0 && !state_of_agent.config.try_seccomp;
  if (s.filtered)
    return s.why.refuse("the program is under seccomp, and its filter may kill it during a "
                        "checkpoint (CKPT_SECCOMP=try tries all the same)");
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

void choose_name(session& s) {
  s.final_name.clear();
  s.final_name.append(state_of_agent.config.name.view());
  if (s.program != state_of_agent.home) {
    s.final_name.append('.').append(s.outer_pid.view());
    if (!state_of_agent.child_told) {
      fixed_text<1400> line;
      line.append("process ").append(s.outer_pid.view()).append(" is a child of the one that owns ");
      line.append(quoted{state_of_agent.config.name.view()}).append(" and writes ");
      line.append(quoted{s.final_name.view()});
      say(line.view());
      state_of_agent.child_told = true;
    }
  }
  name_temporary(s);
}

/// The program never had this child: neither its end nor the signal of it may be seen.
// Context: triggering thread, all signals blocked
void forget_adopted(int helper, u64 pending_before) {
  (void)sys::wait4(helper, nullptr, sys::abi::w_all);
  constexpr u64 child_signal = u64{1} << (sys::abi::sig_chld - 1);
  sys::abi::siginfo info{};
  if ((pending_before & child_signal) == 0)
    (void)sys::rt_sigtimedwait(child_signal, info, {0, 0});
}

/// A thread of SCHED_DEADLINE may make no other task unless that one starts without the deadline.
// Context: triggering thread
void let_deadline_clone(session& s, bool leave) {
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
void note_freeze() {
  ++agent_freezes;
  auto& frames = state_of_agent.frames;
  if (!frames.empty()) (void)sys::munmap(frames.begin, frames.length());
  frames = {};
}

/// Whether the helper could be made; afterwards it works or has said why not.
// Context: signal handler, on the agent's stack
result<void> run_helper(session& s) {
  if (auto r = s.arena.reserve(); !r.ok())
    return s.why.explain(r.error(), "cannot reserve working memory");
  s.metadata = format::metadata_builder(s.arena.bottom());
  // The helper must not become the child of a program that adopts orphans.
  (void)sys::prctl(sys::abi::pr_get_child_subreaper, &s.child_subreaper, 0, 0, 0);
  if (s.child_subreaper != 0) (void)sys::prctl(sys::abi::pr_set_child_subreaper, 0, 0, 0, 0);
  s.dumpable = state::current_setting(sys::abi::pr_get_dumpable);
  if (s.dumpable == 0) (void)sys::prctl(sys::abi::pr_set_dumpable, 1, 0, 0, 0);

  let_deadline_clone(s, true);
  s.own_slice = state::settings_detail::scheduling_of(0).runtime;
  state::set_slice(state::short_slice);
  u64 pending = 0;  // before there is a helper whose end could be among it
  (void)sys::rt_sigpending(pending);
  const long starter = start_task(sys::abi::clone_vm | sys::abi::clone_untraced, agent_starter_stack_end,
                                  nullptr, nullptr, &starter_main, nullptr);
  int helper_pid = 0;
  auto outcome = [&]() -> result<void> {
    if (starter < 0)
      return s.why.explain(static_cast<errc>(-starter), "cannot start the helper process");
    while (__atomic_load_n(&s.helper, __ATOMIC_ACQUIRE) == not_started) {
      const sys::abi::timespec bound{0, 1'000'000};
      (void)sys::futex_wait(reinterpret_cast<u32*>(&s.helper), static_cast<u32>(not_started), &bound);
      // A starter that was killed has made none, or its number is there by now.
      const auto ended = sys::wait4(static_cast<int>(starter), nullptr,
                                    sys::abi::w_all | sys::abi::w_nohang);
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
    if (!frozen) return s.why.refuse("the helper process died (out of memory, or killed)");
    if (s.good) note_freeze();
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
  }
  if (adopted) forget_adopted(helper_pid, pending);
  if (s.rseq.address != 0) (void)sys::rseq(s.rseq.address, s.rseq.size, 0, s.rseq.signature);
  (void)sys::prctl(sys::abi::pr_set_ptracer, 0);
  state::set_slice(s.own_slice == s.default_slice ? 0 : s.own_slice);
  if (s.deadline_lent) let_deadline_clone(s, false);
  if (s.dumpable == 0) (void)sys::prctl(sys::abi::pr_set_dumpable, 0, 0, 0, 0);
  if (s.child_subreaper != 0) (void)sys::prctl(sys::abi::pr_set_child_subreaper, 1, 0, 0, 0);
  s.arena.release();
  return outcome;
}

/// True when the registers are mended so that the call which the trigger interrupted is made again.
// Context: signal handler
bool make_call_again(sys::abi::ucontext& context, int trigger, bool filtered) {
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

session& new_session(sys::abi::ucontext& context) {
  auto& s = *new (static_cast<void*>(agent_session_room)) session{};
  s.helper = not_started;
  s.context = &context;
  s.try_filtered = state_of_agent.config.try_seccomp;
  return s;
}

/// How long to wait for a thread that did not stop, from one try to the next.
constexpr i64 patience_ms[] = {5, 30, 100, 300, 600};

/// Whether the call that the trigger has interrupted is to be made again. `asked` is false when
/// another thread's checkpoint has met the request meanwhile: one that went on does not meet the
/// request to end.
bool checkpoint(const sys::abi::siginfo& info, sys::abi::ucontext& context, bool asked) {
  auto& me = state_of_agent;
  const bool goes_on = me.period.raised(info) ? me.config.continues || !me.config.continues_given
                                              : me.config.continues;
  auto& s = new_session(context);
  auto outcome = look_before(s);
  // Before the capture: the image must hold the mended registers too.
  const bool made_again = make_call_again(context, info.si_signo, s.filtered);
  if (!asked && (goes_on || !me.went_on)) return made_again;
  me.went_on = goes_on;
  const bool own_period = outcome.ok() && s.program == me.home;
  if (own_period) me.period.hold();
  const auto attempt = [&] {
    s.made_again = made_again;
    s.goes_on = goes_on;
    choose_name(s);
    return run_helper(s);
  };
  if (outcome.ok()) outcome = attempt();
  for (const i64 wait : patience_ms) {
    if (s.stuck == 0) break;
    (void)sys::nanosleep({0, wait * 1'000'000});
    new_session(context);
    outcome = look_before(s);
    if (outcome.ok()) outcome = attempt();
  }
  if (own_period) me.period.go_on();
  if (!outcome.ok()) {
    fixed_text<1600> line;
    line.append("no checkpoint of process ").append(s.program).append(": ").append(s.why.line());
    line.append("; the program goes on");
    say(line.view());
    return made_again;
  }
  if (me.config.verbose) {
    fixed_text<1600> line;
    const u64 ms = (static_cast<u64>(state::nanoseconds_of(sys::abi::clock_monotonic)) -
                    s.started_ns) / 1'000'000;
    line.append("checkpoint ").append(quoted{s.final_name.view()}).append(", ");
    line.append(s.image_size).append(" bytes, ").append(ms).append(" ms");
    say(line.view());
  }
  if (!goes_on) sys::exit_group(0);
  return made_again;
}

// --- restart ---------------------------------------------------------------------------------

[[noreturn]] void fail_restart(const image::handover& h, const report& why, int to = 2) {
  fixed_text<2600> line;
  line.append("ckpt: ").append(quoted{std::string_view(h.name, h.name_length)}).append(": ");
  line.append(why.line()).append('\n');
  sys::linux_files kernel;
  (void)sys::write_all(kernel, to, bytes_of_text(line.view()));
  sys::exit_group(125);
}

[[noreturn]] void fail_thread(const image::handover& h, const report& why) { fail_restart(h, why); }

/// What the image was called by whoever restarts it.
fixed_text<1024>& restored_name() { return *reinterpret_cast<fixed_text<1024>*>(agent_session_room); }

/// Each thread may have lost the same: a few lines say enough.
void lost(std::string_view what, errc error) {
  static constinit u32 told = 0;
  constexpr u32 enough = 8;
  if (__atomic_fetch_add(&told, 1u, __ATOMIC_RELAXED) >= enough) return;
  fixed_text<512> line;
  line.append(quoted{restored_name().view()}).append(": cannot restore ");
  line.append(what).append(" (").append(error).append("); the program goes on without");
  say(line.view());
}

/// Timers with an overrun take their signals for themselves, so what waited is queued after them.
result<void> restore_timers_and_signals(bytes metadata, const threads_restore& threads) {
  const auto& me = state_of_agent;
  const int tid = sys::gettid();
  const i32 saved_pid = image::first<state::process>(metadata).pid;
  const auto renumber = [&](i32 number) {
    return number == saved_pid ? me.home : threads.present_tid(number);
  };
  const auto present = [&](state::posix_timer t) {
    t.thread = renumber(t.thread);
    t.clock = state::present_clock(t.clock, renumber);
    return t;
  };
  const auto lost_timer = [&](const state::posix_timer& t, std::string_view what, errc error) {
    fixed_text<96> line;
    line.append(what).append("POSIX timer ").append(t.id.get());
    line.append(" (clock ").append(t.clock.get()).append(')');
    lost(line.view(), error);
  };
  image::for_each<state::posix_timer>(metadata, [&](const state::posix_timer& saved, bytes) {
    if (auto r = state::create_posix_timer(present(saved)); !r.ok())
      lost_timer(saved, "", r.error());
  });
  image::for_each<state::posix_timer>(metadata, [&](const state::posix_timer& saved, bytes) {
    if (saved.state != state::timer_running) return;
    auto t = present(saved);
    // Only the thread that a timer notifies could take the signal that an overrun needs.
    if ((t.notify & sys::abi::sigev_thread_id) != 0 && t.thread != tid) t.overrun = 0;
    if (auto r = state::start_posix_timer(t); !r.ok())
      lost_timer(saved, "the overrun of ", r.error());
  });
  image::for_each<state::interval_timer>(
      metadata, [](const state::interval_timer& t, bytes) { (void)state::restore_timer(t); });
  state::posix_timer found{};
  return queue_signals(metadata, 0, saved_pid, me.home, tid, [&](i32 id) -> const state::posix_timer* {
    bool have = false;
    image::for_each<state::posix_timer>(metadata, [&](const state::posix_timer& saved, bytes) {
      if (saved.id != id) return;
      found = present(saved);
      have = true;
    });
    return have ? &found : nullptr;
  });
}

void resume(const image::handover& given) {
  const taken_handover taken(given);
  const image::handover& h = taken.get();
  auto& me = state_of_agent;
  const u64 all = ~u64{0};
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
  const bytes metadata(h.metadata, h.metadata_size);
  report why;

  state::shared_restore shared(h.files, metadata, bytes(h.contents, h.contents_size), why);
  state::files_restore files(h.files, metadata, shared, why);
  if (!shared.check().ok() || !files.check().ok()) fail_restart(h, why);
  fixed_text<4200> directory;
  directory.append(text_of_bytes(image::text(metadata, state::text_kind::directory)));
  if (!state::restore_directory(directory.c_str(), why).ok()) fail_restart(h, why);
  if (auto r = files.restore(); !r.ok()) {
    (void)why.explain(r.error(), "cannot restore the descriptors");
    fail_restart(h, why, files.messages());
  }
  me.output.remember();
  if (shared.could_not_lock())
    say("cannot lock as much shared memory as the program had locked (RLIMIT_MEMLOCK is lower "
        "here); it goes on without");
  me.home = sys::getpid();
  me.child_told = false;
  ++me.generation;

  state::reset_actions();
  image::for_each<state::signal_action>(metadata, [](const state::signal_action& a, bytes) {
    (void)state::restore_action(a);
  });
  state::restore_process(image::first<state::process>(metadata));
  fixed_text<4200> program;
  program.append(text_of_bytes(image::text(metadata, state::text_kind::program)));
  const auto layout = state::restore_memory_layout(
      image::first<state::memory_layout>(metadata),
      image::text(metadata, state::text_kind::auxiliary_vector), program.c_str());
  if (!layout.ok() && h.verbose != 0)
    say("the kernel does not let the heap's end and the command line be restored (PR_SET_MM)");

  auto& name = restored_name();
  name.clear();
  name.append(std::string_view(h.name, h.name_length));
  if (files.unwatched() != 0)
    lost("what an epoll watched and cannot watch now (/dev/null or a file on standard input?)",
         static_cast<errc>(1));
  image::for_each<state::process_settings>(metadata, [&](const state::process_settings& s, bytes) {
    state::restore_process_settings(s, lost);
  });
  threads_restore threads(h, metadata, {&lost, &fail_thread, reinterpret_cast<u64>(&trigger_entry)});
  if (!threads.prepare(why).ok() || !threads.start(why).ok()) fail_restart(h, why);
  threads.set_up_leader();
  image::for_each<state::resource_limit>(metadata, [](const state::resource_limit& l, bytes) {
    (void)state::restore_limit(l);
  });
  if (auto r = restore_timers_and_signals(metadata, threads); !r.ok()) {
    (void)why.explain(r.error(), "cannot queue a pending signal again (RLIMIT_SIGPENDING?)");
    fail_restart(h, why);
  }
  threads.gather();
  me.period.start_again();
  image::for_each<state::process_settings>(metadata, [&](const state::process_settings& s, bytes) {
    state::finish_process_settings(s, lost);
  });
  threads.finish_leader();
  me.frames = threads.frames();

  // Last words from the window, then it goes.
  const range window = h.window;
  const range contents = h.contents_mapping;
  const range keep = h.keep;
  if (!contents.empty()) (void)sys::munmap(contents.begin, contents.length());
  if (keep.empty()) {
    (void)sys::munmap(window.begin, window.length());
  } else {
    (void)sys::munmap(window.begin, keep.begin - window.begin);
    if (keep.end < window.end) (void)sys::munmap(keep.end, window.end - keep.end);
  }
  threads.leave();
}

}  // namespace
}  // namespace ckpt::agent

extern "C" {

[[gnu::constructor, gnu::used]] static void agent_load(ckpt::u64 mark,
                                                       ckpt::agent::injected* given) {
  ckpt::agent::load(mark == ckpt::agent::injected_mark ? given : nullptr);
}

[[gnu::visibility("hidden")]] void trigger_main(int, ckpt::sys::abi::siginfo* info,
                                                ckpt::sys::abi::ucontext* context,
                                                ckpt::u32 freezes_then) {
  // A program may have put the disposition back without its mask (bash does): from here on nothing
  // of the program may run, least of all in the helper, which inherits the mask.
  const ckpt::u64 all = ~ckpt::u64{0};
  (void)ckpt::sys::rt_sigprocmask(ckpt::sys::abi::sig_setmask, &all, nullptr);
  const bool made_again = ckpt::agent::checkpoint(*info, *context, freezes_then == agent_freezes);
  if (!ckpt::agent::current().filtered)
    ckpt::agent::end_call_for_own_signal(*context, made_again,
                                         reinterpret_cast<ckpt::u64>(&trigger_entry));
}

[[gnu::visibility("hidden")]] void agent_report(void* slot) {
  ckpt::agent::report_of_thread(*static_cast<ckpt::agent::thread_slot*>(slot));
}

[[gnu::visibility("hidden")]] void resume_main(const ckpt::image::handover* h) {
  ckpt::agent::resume(*h);
}
}
