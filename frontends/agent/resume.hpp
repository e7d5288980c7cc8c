// SPDX-License-Identifier: MIT
//
// The third entry: an image has put the memory back. Descriptors, settings, threads, timers and
// signals follow, and the program goes on.
#pragma once

#include "ckpt/state/files/restore.hpp"
#include "effective_user.hpp"
#include "outside.hpp"
#include "queued_signals.hpp"
#include "regions.hpp"
#include "restore_threads.hpp"
#include "taken_handover.hpp"
#include "trigger_watch.hpp"

namespace ckpt::agent {

[[noreturn]] inline void fail_restart(const image::handover& h, const report& why, int to = 2) {
  fixed_text<2600> line;
  line.append("ckpt: ").append(quoted{std::string_view(h.name, h.name_length)}).append(": ");
  line.append(why.line()).append('\n');
  sys::linux_files kernel;
  (void)sys::write_all(kernel, to, bytes_of_text(line.view()));
  sys::exit_group(125);
}

[[noreturn]] inline void fail_thread(const image::handover& h, const report& why) {
  fail_restart(h, why);
}

/// What the image was called by whoever restarts it.
inline fixed_text<1024>& restored_name() {
  return *reinterpret_cast<fixed_text<1024>*>(agent_session_room);
}

/// Each thread may have lost the same: a few lines say enough.
inline void lost(std::string_view what, errc error) {
  static constinit u32 told = 0;
  constexpr u32 enough = 8;
  if (__atomic_fetch_add(&told, 1u, __ATOMIC_RELAXED) >= enough) return;
  fixed_text<512> line;
  line.append(quoted{restored_name().view()}).append(": cannot restore ");
  line.append(what).append(" (").append(error).append("); the program goes on without");
  say(line.view());
}

/// A saved timer with the numbers that threads have now.
inline state::posix_timer present_timer(bytes metadata, const threads_restore& threads,
                                        state::posix_timer t) {
  const i32 saved_pid = image::first<state::process>(metadata).pid;
  const auto renumber = [&](i32 number) {
    return number == saved_pid ? state_of_agent.home : threads.present_tid(number);
  };
  t.thread = renumber(t.thread);
  t.clock = state::present_clock(t.clock, renumber);
  return t;
}

/// Timers with an overrun take their signals for themselves, so what waited is queued after them.
inline void restore_timers(bytes metadata, const threads_restore& threads) {
  const int tid = sys::gettid();
  const auto present = [&](const state::posix_timer& t) {
    return present_timer(metadata, threads, t);
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
}

inline result<void> restore_signals(bytes metadata, const threads_restore& threads) {
  const i32 saved_pid = image::first<state::process>(metadata).pid;
  state::posix_timer found{};
  return queue_signals(metadata, 0, saved_pid, state_of_agent.home, sys::gettid(),
                       [&](i32 id) -> const state::posix_timer* {
                         bool have = false;
                         image::for_each<state::posix_timer>(
                             metadata, [&](const state::posix_timer& saved, bytes) {
                               if (saved.id != id) return;
                               found = present_timer(metadata, threads, saved);
                               have = true;
                             });
                         return have ? &found : nullptr;
                       });
}

[[gnu::cold]] inline void resume(const image::handover& given) {
  const taken_handover taken(given);
  const image::handover& h = taken.get();
  auto& me = state_of_agent;
  const u64 all = ~u64{0};
  (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
  const bytes metadata(h.metadata, h.metadata_size);
  report why;

  const i32 saved_pid = image::first<state::process>(metadata).pid;

  me.output.remember();
  auto& name = restored_name();
  name.clear();
  name.append(std::string_view(h.name, h.name_length));
  state::shared_restore shared(h.files, metadata, bytes(h.contents, h.contents_size), why);
  state::files_restore files(h.files, metadata, shared, why);
  // A function of the program's may say that a file is elsewhere: then this comes after it.
  const auto check_files = [&] {
    if (!shared.check().ok() || !files.check().ok()) fail_restart(h, why);
  };
  const auto restore_files = [&] {
    if (auto r = files.restore(); !r.ok()) {
      (void)why.explain(r.error(), "cannot restore the descriptors");
      fail_restart(h, why, files.messages());
    }
    me.output.remember();
    if (shared.could_not_lock())
      say("cannot lock as much shared memory as the program had locked (RLIMIT_MEMLOCK is lower "
          "here); it goes on without");
    if (files.unwatched() != 0)
      lost("what an epoll watched and cannot watch now (/dev/null or a file on standard input?)",
           static_cast<errc>(1));
  };
  const bool has_callbacks = !me.callbacks.restart.empty();
  if (!has_callbacks) check_files();
  fixed_text<4200> directory;
  directory.append(text_of_bytes(image::text(metadata, state::text_kind::directory)));
  if (!state::restore_directory(directory.c_str(), why).ok()) fail_restart(h, why);
  // Whoever sees the program's handlers finds its files restored, too, where nobody comes between.
  if (!has_callbacks) restore_files();
  me.home = sys::getpid();
  regions_of_agent.move_to(me.home);
  descriptors_of_agent.forget();
  me.child_told = false;
  me.outside = h.outside;
  me.gone = h.gone;
  ++me.generation;
  open_outside_box();
  me.last.was_restarted();
  draw_instance();

  state::reset_actions();
  image::for_each<state::signal_action>(
      metadata, [](const state::signal_action& a, bytes) { (void)state::restore_action(a); });
  state::restore_process(image::first<state::process>(metadata));
  fixed_text<4200> program;
  program.append(text_of_bytes(image::text(metadata, state::text_kind::program)));
  const auto layout = state::restore_memory_layout(
      image::first<state::memory_layout>(metadata),
      image::text(metadata, state::text_kind::auxiliary_vector), program.c_str());
  if (!layout.ok() && h.verbose != 0)
    say("the kernel does not let the heap's end and the command line be restored (PR_SET_MM)");
  image::for_each<state::process_settings>(metadata, [&](const state::process_settings& s, bytes) {
    state::restore_process_settings(s, lost);
  });
  threads_restore threads(h, metadata,
                          {&lost, &fail_thread, reinterpret_cast<u64>(&trigger_entry)});
  if (!threads.prepare(why).ok() || !threads.start(why).ok()) fail_restart(h, why);
  threads.set_up_leader();
  // Each timer takes one of the signals that may wait.
  image::for_each<state::resource_limit>(metadata, [](const state::resource_limit& l, bytes) {
    if (l.resource == static_cast<u32>(sys::abi::rlimit_sigpending)) (void)state::restore_limit(l);
  });
  restore_timers(metadata, threads);
  if (has_callbacks) {
    // From here to the gate the other threads open and close nothing.
    threads.wait_until_set_up();
    descriptors_of_agent.begin_restart(metadata);
    threads.run_in(me.callbacks.thread(), [](bytes records) {
      auto& c = state_of_agent.callbacks;
      const effective_user not_more(records, c.thread());
      c.run_restart();
    });
    const auto changed = descriptors_of_agent.changed_metadata();
    if (!changed.ok()) {
      (void)why.explain(changed.error(), "cannot do what a function has asked for by ckpt_fds");
      fail_restart(h, why);
    }
    shared.use(*changed);
    files.use(*changed);
    check_files();
    restore_files();
    descriptors_of_agent.end_restart();
  }
  image::for_each<state::resource_limit>(
      metadata, [](const state::resource_limit& l, bytes) { (void)state::restore_limit(l); });
  if (auto r = restore_signals(metadata, threads); !r.ok()) {
    (void)why.explain(r.error(), "cannot queue a pending signal again (RLIMIT_SIGPENDING?)");
    fail_restart(h, why);
  }
  threads.gather();
  me.period.start_again(saved_pid);
  image::for_each<state::process_settings>(metadata, [&](const state::process_settings& s, bytes) {
    state::finish_process_settings(s, lost);
  });
  threads.finish_leader();
  me.frames = threads.frames();
  tell_trigger_after_restart(h.verbose != 0, metadata);

  // Last words from the window, then it goes.
  const range window = h.window;
  const range contents = h.contents_mapping;
  const range keep = h.keep;
  if (!keep.empty()) me.kernel_vdso = keep;
  if (!contents.empty()) (void)sys::munmap(contents.begin, contents.length());
  if (keep.empty()) {
    (void)sys::munmap(window.begin, window.length());
  } else {
    (void)sys::munmap(window.begin, keep.begin - window.begin);
    if (keep.end < window.end) (void)sys::munmap(keep.end, window.end - keep.end);
  }
  close_outside_box(false);
  threads.leave();
}

}  // namespace ckpt::agent
