// SPDX-License-Identifier: MIT
//
// The stand-in: the process that was started, while the program lives in another with its own
// number. To the shell and to kill(1) it is the program: signals sent to it reach the program, it
// stops when the program stops and ends as the program ends.
//
// All of us stay in the process group we were started in, so what a terminal or kill(1) sends to
// the group reaches the program without us, pipelines and scripts keep their terminal, and SIGSTOP
// and SIGKILL to the group need nobody. Only what came to the stand-in alone is passed on; whether
// it did, the guardian knows, which blocks everything: what it has got too went to the group.
#pragma once

#include <utility>

#include "channel.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/proc/cursor.hpp"
#include "ckpt/proc/text_file.hpp"

namespace ckpt::restart {

class stand_in {
 public:
  stand_in(channel_end outer, int guardian, bool same_numbers)
      : outer_(outer), guardian_(guardian), same_numbers_(same_numbers) {}

  /// Takes hold of the program, whose number is its own until the guardian hears of it.
  result<void> hold(int program) {
    program_ = CKPT_TRY(sys::pidfd_open(program, 0));
    signals_ = CKPT_TRY(sys::signalfd4(-1, ~u64{0}, sys::abi::o_cloexec));
    return {};
  }

  [[noreturn]] void run() {
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
    sys::abi::kernel_sigaction standard{};
    (void)sys::rt_sigaction(sys::abi::sig_chld, &standard, nullptr);
    close_all_but({signals_, outer_.fd(), program_});
    (void)outer_.send({word::go, {}, 0, 0});
    for (;;) {
      sys::abi::pollfd wake[2] = {{signals_, sys::abi::poll_in, 0},
                                  {outer_.fd(), sys::abi::poll_in, 0}};
      (void)sys::poll(wake, 2, -1);
      pass_signals_on();
      message m{};
      while (outer_.receive(m, false)) hear(m);
      while (const int signal = std::exchange(stopped_by_, 0))
        if (still_stopped()) stop_like(signal);
      if (wake[1].revents != 0) look_for_end();
    }
  }

 private:
  void pass_signals_on() {
    sys::abi::siginfo info{};
    for (;;) {
      const auto taken = sys::rt_sigtimedwait(~u64{0}, info, {0, 0});
      if (!taken.ok()) {
        if (taken.error() == errc::interrupted) continue;
        return;
      }
      if (*taken == sys::abi::sig_chld) continue;
      if (went_to_group(*taken) || revoked(*taken)) continue;
      // Only the sender of a queued signal may say more than kill(2) does.
      const bool queued = info.si_code < 0 && info.si_code != si_tkill;
      if (queued && !same_numbers_) std::memset(info.fields, 0, 4);  // si_pid means nothing there
      if (!queued || !sys::pidfd_send_signal(program_, *taken, &info).ok())
        (void)sys::pidfd_send_signal(program_, *taken, nullptr);
    }
  }

  bool went_to_group(int signal) {
    wait_for_group_signals();
    if (!outer_.send({word::had_signal, {}, 0, static_cast<u32>(signal)})) return false;
    message m{};
    while (outer_.receive(m)) {
      if (m.kind == word::had_signal) return m.value != 0;
      hear(m);
    }
    return false;
  }

  /// SIGCONT and the signals that stop take each other out of every queue. One that was taken
  /// here, and has been revoked since, is in the guardian's queue no more; what has revoked it
  /// waits in ours.
  static bool revoked(int signal) {
    constexpr u64 stops = u64{1} << (sys::abi::sig_tstp - 1) | u64{1} << (sys::abi::sig_ttin - 1) |
                          u64{1} << (sys::abi::sig_ttou - 1);
    constexpr u64 continues = u64{1} << (sys::abi::sig_cont - 1);
    const u64 one = u64{1} << (signal - 1);
    u64 pending = 0;
    (void)sys::rt_sigpending(pending);
    return ((one & continues) != 0 && (pending & stops) != 0) ||
           ((one & stops) != 0 && (pending & continues) != 0);
  }

  void hear(const message& m) {
    if (m.kind == word::ended) end_like(static_cast<int>(m.value));
    if (m.kind == word::stopped) stopped_by_ = static_cast<int>(m.value);
  }

  /// A stop may be over when it is heard of: the shell has let the group go on meanwhile, and us with
  /// it. The descriptor knows the program's number; where /proc does not tell, the word counts.
  [[nodiscard]] bool still_stopped() const {
    char room[1024];
    fixed_text<64> path;
    path.append("/proc/self/fdinfo/").append(program_);
    const auto info = proc::read_text(path.c_str(), room);
    const auto number = info.ok() ? proc::number_of<int>(*info, "Pid") : result<int>(info.error());
    if (!number.ok()) return true;
    path.clear();
    path.append("/proc/").append(*number).append("/stat");
    const auto text = proc::read_text(path.c_str(), room);
    // The state stands behind the name, which may have anything in it.
    const u64 name_end = text.ok() ? text->rfind(") ") : std::string_view::npos;
    if (name_end == std::string_view::npos || name_end + 2 >= text->size()) return true;
    const char state = (*text)[name_end + 2];
    return state != 'R' && state != 'S' && state != 'D';
  }

  /// Returns when the shell lets us go on. A group without a shell cannot be stopped by a
  /// terminal's signals; the program, which is in it, was not either then.
  void stop_like(int signal) {
    (void)went_to_group(signal);  // if so, it is dealt with by this
    take_default(signal);
    const u64 one = u64{1} << (signal - 1);
    (void)sys::kill(sys::getpid(), signal);
    (void)sys::rt_sigprocmask(sys::abi::sig_unblock, &one, nullptr);
    (void)sys::rt_sigprocmask(sys::abi::sig_block, &one, nullptr);
  }

  [[noreturn]] void end_like(int status) {
    // What the guardian has spent is ours to show; with orphans to look after it stays.
    sys::abi::siginfo info{};
    for (int tries = 0; tries < 50; ++tries) {
      const auto gone = sys::wait4(guardian_, nullptr, sys::abi::w_all | sys::abi::w_nohang);
      if (!gone.ok() || *gone != 0) break;
      (void)sys::rt_sigtimedwait(u64{1} << (sys::abi::sig_chld - 1), info, {0, 200'000});
    }
    if ((status & 0x7f) == 0) sys::exit_group(status >> 8 & 0xff);
    const int signal = status & 0x7f;
    const sys::abi::rlimit64 none{0, 0};  // the program has left its core already
    (void)sys::prlimit64(sys::abi::rlimit_core, &none, nullptr);
    take_default(signal);
    const u64 one = u64{1} << (signal - 1);
    (void)sys::kill(sys::getpid(), signal);
    (void)sys::rt_sigprocmask(sys::abi::sig_unblock, &one, nullptr);
    sys::exit_group(128 + signal);  // the first process of a container cannot kill itself
  }

  /// The guardian is gone without a word of the program's end: somebody has killed it.
  void look_for_end() {
    sys::abi::pollfd p{outer_.fd(), 0, 0};
    (void)sys::poll(&p, 1, 0);
    if (p.revents == 0) return;
    message m{};
    while (outer_.receive(m, false)) hear(m);
    (void)sys::pidfd_send_signal(program_, sys::abi::sig_kill, nullptr);
    end_like(sys::abi::sig_kill);
  }

  static void take_default(int signal) {
    const sys::abi::kernel_sigaction standard{};
    (void)sys::rt_sigaction(signal, &standard, nullptr);
  }

  static constexpr i32 si_tkill = -6;

  channel_end outer_;
  int guardian_;
  bool same_numbers_;
  int program_ = -1;
  int signals_ = -1;
  int stopped_by_ = 0;
};

}  // namespace ckpt::restart
