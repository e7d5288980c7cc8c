// SPDX-License-Identifier: MIT
//
// The guardian: the program's parent, in a PID namespace of its own its process 1. It makes the
// program with its number, waits for it, collects orphans, tells the stand-in what happens, and
// takes the program with it when the stand-in is gone.
#pragma once

#include "channel.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/state/credentials.hpp"
#include "namespaces.hpp"

namespace ckpt::restart {

enum class way : u32 { same, keep, pid_namespace, user_namespace, fresh };

struct birth {
  restart::way way = way::fresh;
  i32 number = 0;
  u32 uid = 0, gid = 0;  // of whoever restarts
  i64 monotonic_ns = 0, boottime_ns = 0;
};

class guardian {
 public:
  guardian(const birth& b, channel_end inner) : birth_(b), inner_(inner) {}

  /// Returns in the program, and there only.
  void give_birth(u64 mask_of_program) {
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, nullptr);
    sys::abi::kernel_sigaction standard{};
    (void)sys::rt_sigaction(sys::abi::sig_chld, &standard, nullptr);
    if (birth_.way == way::user_namespace)
      if (auto r = map_user(birth_.uid, birth_.gid); !r.ok()) fail(step::user_map, r.error());
    // What cannot be had of these two is not worth another number; the program says what it sees.
    (void)let_clocks_go_on(birth_.monotonic_ns, birth_.boottime_ns);
    if (birth_.way != way::keep) (void)mount_own_proc();

    int ends[2];
    if (auto r = sys::pipe2(ends, sys::abi::o_cloexec); !r.ok()) fail(step::channel, r.error());
    i32 number = birth_.number;
    sys::abi::clone_args a{};
    a.exit_signal = static_cast<u64>(sys::abi::sig_chld);
    a.set_tid = reinterpret_cast<u64>(&number);
    a.set_tid_size = 1;
    auto made = sys::clone3(a);
    // A process group keeps a number too, until the last of its members has been waited for: the
    // helper of the checkpoint was one, and whoever waits for orphans may be slow.
    for (int tries = 0; tries < 100 && made.error() == errc::exists &&
                        sys::kill(number, 0).error() == errc::no_process;
         ++tries) {
      (void)sys::nanosleep({0, 1'000'000});
      made = sys::clone3(a);
    }
    if (!made.ok()) fail(step::number, made.error());
    if (*made == 0) {
      (void)sys::close(ends[1]);
      if (!inner_.send({word::born, {}, 0, 0})) sys::exit_group(0);
      (void)sys::close(inner_.fd());
      // Nothing is done, and nothing of the image is read, before the stand-in has hold of us: it
      // may yet have to go another way.
      take_missed_signals(ends[0]);
      (void)sys::close(ends[0]);
      if (birth_.way == way::user_namespace) leave_files_to_user();
      (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &mask_of_program, nullptr);
      return;
    }
    watch(*made, ends[1]);
  }

 private:
  /// In its own user namespace the program has every capability over what the user owns: files that
  /// the user has closed to himself stay closed.
  static void leave_files_to_user() {
    constexpr u64 over_files = 0x1f;  // CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID
    auto sets = state::own_capabilities();
    sets.effective &= ~over_files;
    (void)state::credentials_detail::set_capabilities(sets);
  }

  /// What was sent to our group when the guardian was there and the program was not: the guardian
  /// has it, the program has not.
  // Context: the program, all signals blocked
  static void take_missed_signals(int from) {
    u64 of_guardian = 0;
    u64 mine = 0;
    sys::linux_files kernel;
    mutable_bytes rest = std::as_writable_bytes(std::span(&of_guardian, 1));
    while (!rest.empty()) {
      const auto got = kernel.read(from, rest.data(), rest.size());
      if (!got.ok()) continue;
      if (*got == 0) sys::exit_group(0);  // nobody lets us go on
      rest = rest.subspan(*got);
    }
    wait_for_group_signals();
    (void)sys::rt_sigpending(mine);
    const u64 missed = of_guardian & ~mine & ~(u64{1} << (sys::abi::sig_chld - 1));
    for (int signal = 1; signal <= sys::abi::signal_count; ++signal)
      if ((missed >> (signal - 1) & 1) != 0) (void)sys::kill(sys::getpid(), signal);
  }

  [[noreturn]] void fail(step at, errc error) const {
    (void)inner_.send({word::failed, at, static_cast<u32>(error), 0});
    sys::exit_group(0);
  }

  [[noreturn]] void watch(int program, int to_program) {
    (void)sys::prctl(sys::abi::pr_set_name, "ckpt-guardian");
    const u64 child = u64{1} << (sys::abi::sig_chld - 1);
    const auto signals = sys::signalfd4(-1, child, sys::abi::o_cloexec | sys::abi::o_nonblock);
    const int fd = signals.value_or(-1);
    close_all_but({fd, inner_.fd(), to_program});
    (void)sys::chdir("/");
    // As long as nobody waits for the program, its number is not another's: the stand-in takes
    // hold of it first.
    wait_for_go(program, fd);
    u64 pending = 0;
    (void)sys::rt_sigpending(pending);
    // A pipe that has room takes it, unless there is no reader.
    bytes rest = bytes_of(pending);
    for (int tries = 0; tries < 10 && !rest.empty(); ++tries)
      if (const auto sent = sys::write(to_program, rest.data(), rest.size()); sent.ok())
        rest = rest.subspan(*sent);
    (void)sys::close(to_program);
    bool alive = true;
    for (;;) {
      int status = 0;
      for (;;) {
        const auto got = sys::wait4(
            -1, &status, wait_untraced | wait_continued | sys::abi::w_all | sys::abi::w_nohang);
        if (!got.ok() && got.error() == errc::interrupted) continue;
        if (!got.ok() && !alive) sys::exit_group(0);  // the last orphan has gone
        if (!got.ok() || *got == 0) break;
        if (*got != program) continue;
        if ((status & 0xff) == 0x7f) {
          (void)inner_.send({word::stopped, {}, 0, static_cast<u32>(status >> 8 & 0xff)});
        } else if (status != continued) {
          alive = false;
          (void)inner_.send({word::ended, {}, 0, static_cast<u32>(status)});
          if (birth_.way == way::keep) sys::exit_group(0);
        }
      }
      sys::abi::pollfd wake[2] = {{fd, sys::abi::poll_in, 0}, {inner_.fd(), sys::abi::poll_in, 0}};
      if (!alive) {
        // Its orphans live on, as they would without us.
        (void)sys::close(inner_.fd());
        wake[1].fd = -1;
      }
      (void)sys::poll(wake, 2, patience(fd));
      sys::abi::siginfo taken{};
      if ((wake[0].revents & sys::abi::poll_in) != 0)
        (void)sys::rt_sigtimedwait(child, taken, {0, 0});
      if (!alive || wake[1].revents == 0) continue;
      message m{};
      if (inner_.receive(m, false)) {
        if (m.kind != word::had_signal) continue;
        const auto had = sys::rt_sigtimedwait(u64{1} << (m.value - 1), taken, {0, 0});
        (void)inner_.send({word::had_signal, {}, 0, had.ok() ? 1u : 0u});
      } else {
        stand_in_is_gone(program);
      }
    }
  }

  /// A program that has ended before it could say that it is there would be waited for by both of
  /// us. To a stand-in that has heard of it, this message says nothing.
  void wait_for_go(int program, int signals) const {
    for (bool told = false;;) {
      sys::abi::siginfo seen{};
      if (!told &&
          sys::waitid(sys::abi::p_pid, program, seen,
                      sys::abi::w_exited | sys::abi::w_nowait | sys::abi::w_nohang)
              .ok() &&
          seen.si_signo != 0) {
        (void)inner_.send({word::failed, step::channel, static_cast<u32>(errc::gone), 0});
        told = true;
      }
      sys::abi::pollfd wake[2] = {{told ? -1 : signals, sys::abi::poll_in, 0},
                                  {inner_.fd(), sys::abi::poll_in, 0}};
      (void)sys::poll(wake, 2, told ? -1 : patience(signals));
      if (wake[1].revents == 0) continue;
      message go{};
      if (!inner_.receive(go)) stand_in_is_gone(program);
      return;
    }
  }

  /// Without a descriptor that tells of children, they are looked for.
  static constexpr int patience(int signals) { return signals < 0 ? 10 : -1; }

  /// It has been killed. The end of a namespace's first process ends all others.
  [[noreturn]] void stand_in_is_gone(int program) const {
    if (birth_.way == way::keep) (void)sys::kill(program, sys::abi::sig_kill);
    sys::exit_group(0);
  }

  static constexpr int wait_untraced = 2, wait_continued = 8, continued = 0xffff;

  birth birth_;
  channel_end inner_;
};

}  // namespace ckpt::restart
