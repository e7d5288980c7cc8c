// SPDX-License-Identifier: MIT
//
// How the program becomes the process it was: which ways there are for whoever restarts, the best
// first, and what is lost on each. Nothing but processes of this restart is changed by trying.
#pragma once

#include "channel.hpp"
#include "ckpt/image/metadata_view.hpp"
#include "ckpt/state/caller.hpp"
#include "guardian.hpp"
#include "stand_in.hpp"

namespace ckpt::restart {

enum class identity_wish : u32 { best, keep, name_space, fresh };

inline bool parse_identity(std::string_view text, identity_wish& wish) {
  if (text == "keep")
    wish = identity_wish::keep;
  else if (text == "namespace")
    wish = identity_wish::name_space;
  else if (text == "new")
    wish = identity_wish::fresh;
  else
    return false;
  return true;
}

class identity {
 public:
  identity(identity_wish wish, bytes metadata)
      : wish_(wish), metadata_(metadata), caller_(state::caller::now()) {
    const auto process = image::first<state::process>(metadata);
    const auto host = image::first<state::host>(metadata);
    birth_.number = process.pid;
    birth_.uid = caller_.uid, birth_.gid = caller_.gid;
    birth_.monotonic_ns = host.monotonic_ns, birth_.boottime_ns = host.boottime_ns;
  }

  [[nodiscard]] restart::way way() const { return birth_.way; }
  [[nodiscard]] u64 capabilities() const { return caller_.permitted; }
  /// What --verbose says of it.
  [[nodiscard]] std::string_view line() const { return line_.view(); }

  /// Returns in the process that becomes the program; the one that called it may by then be its
  /// stand-in, which does not return. An error is a wish that cannot be had.
  result<void> take(report& why) {
    using enum restart::way;
    const bool is_same = sys::getpid() == birth_.number;
    switch (wish_) {
      case identity_wish::fresh:
        return settle(fresh, "as asked for");
      case identity_wish::keep:
        if (is_same) return settle(same, "");
        if (threads_are_free() && attempt(keep)) return {};
        return why.refuse("cannot keep process number ", birth_.number, ": ", reason_.view(),
                          " (--identity=namespace or new)");
      case identity_wish::name_space:
        if (attempt(caller_.can(sys::abi::cap_sys_admin) ? pid_namespace : user_namespace))
          return {};
        return why.refuse("cannot restart in a namespace: ", reason_.view(), " (--identity=new)");
      case identity_wish::best:
        break;
    }
    if (is_same) return settle(same, "");
    const bool admin = caller_.can(sys::abi::cap_sys_admin);
    if (admin || caller_.can(sys::abi::cap_checkpoint_restore)) {
      if (threads_are_free() && attempt(keep)) return {};
      if (admin && attempt(pid_namespace)) return {};
    } else if (const auto reason = caller_.why_no_namespace(); !reason.empty()) {
      note(reason);
    } else if (attempt(user_namespace)) {
      return {};
    }
    return settle(fresh, reason_.view());
  }

 private:
  result<void> settle(restart::way w, std::string_view because) {
    birth_.way = w;
    line_.clear();
    if (w == restart::way::same) {
      line_.append("has the process number ").append(birth_.number).append(" again");
      return {};
    }
    line_.append("goes on as process ").append(sys::getpid()).append(", not ");
    line_.append(birth_.number).append(": ").append(because);
    return {};
  }

  /// The threads are made when memory is back; by then it is too late for another way. Whoever has
  /// one of their numbers for an instant only is waited for.
  bool threads_are_free() {
    i32 taken = 0;
    int tries = 0;
    image::for_each<state::thread>(metadata_, [&](const state::thread& t, bytes) {
      while (taken == 0 && t.tid != birth_.number &&
             sys::kill(t.tid, 0).error() != errc::no_process) {
        if (++tries > 50)
          taken = t.tid;
        else
          (void)sys::nanosleep({0, 1'000'000});
      }
    });
    if (taken == 0) return true;
    fixed_text<100> text;
    text.append("another process has ").append(taken).append(", the number of a thread");
    note(text.view());
    return false;
  }

  void note(std::string_view text) {
    reason_.clear();
    reason_.append(text);
  }

  /// True in the program; false where this way is closed, with the reason noted.
  bool attempt(restart::way w) {
    birth_.way = w;
    channel_end outer, inner;
    if (auto r = open_channel(outer, inner); !r.ok()) return closed(step::channel, r.error());
    sys::abi::clone_args a{};
    a.exit_signal = static_cast<u64>(sys::abi::sig_chld);
    if (w != restart::way::keep) a.flags |= sys::abi::clone_newpid;
    if (w == restart::way::user_namespace) a.flags |= sys::abi::clone_newuser;
    u64 mask = 0;
    const u64 all = ~u64{0};
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &all, &mask);
    const auto made = sys::clone3(a);
    if (made.ok() && *made == 0) {
      (void)sys::close(outer.fd());
      const auto before = reason_;
      guardian(birth_, inner).give_birth(mask);
      describe(before.view());
      return true;
    }
    (void)sys::close(inner.fd());
    message first{};
    int program = 0;
    const bool heard = made.ok() && outer.receive(first, true, &program);
    errc why_not = heard ? static_cast<errc>(first.error) : errc::gone;
    if (heard && first.kind == word::born) {
      stand_in in_its_place(outer, *made, w == restart::way::keep);
      const auto held = in_its_place.hold(program);
      if (held.ok()) in_its_place.run();
      first.step = step::channel;
      why_not = held.error();
    }
    // With this the guardian ends, and with it a program that is there.
    (void)sys::close(outer.fd());
    if (made.ok()) (void)sys::wait4(*made, nullptr, sys::abi::w_all);
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &mask, nullptr);
    if (!made.ok()) return closed(step::guardian, made.error());
    return closed(first.step, why_not);
  }

  bool closed(step at, errc error) {
    fixed_text<200> text;
    const bool in_namespace = birth_.way != restart::way::keep;
    if (at == step::number && error == errc::exists)
      text.append(in_namespace ? "a namespace has its own process with that number"
                               : "another process or process group has it");
    else if (at == step::number && error == errc::invalid)
      text.append("it is above the highest number here (kernel.pid_max)");
    else if (at == step::number && error == errc::perm && !in_namespace)
      text.append("that takes root, or CAP_CHECKPOINT_RESTORE");
    else if (at == step::number)
      text.append("the kernel does not give a number away: ").append(error);
    else if (at == step::guardian && in_namespace)
      text.append(
              "no namespace may be made here (user.max_user_namespaces, "
              "kernel.unprivileged_userns_clone, a container's filter): ")
          .append(error);
    else if (at == step::user_map)
      text.append("the user cannot be mapped (AppArmor, a container?): ").append(error);
    else
      text.append("cannot start another process: ").append(error);
    note(text.view());
    birth_.way = restart::way::fresh;
    return false;
  }

  /// In the program, which sees its own numbers and clocks.
  void describe(std::string_view before) {
    line_.clear();
    line_.append("has the process number ").append(sys::getpid()).append(" again");
    if (birth_.way != restart::way::keep) line_.append(", in a namespace");
    if (!before.empty()) line_.append(" (").append(before).append(")");
    const auto differs = [](int clock, i64 saved) {
      constexpr i64 a_minute = 60'000'000'000;
      const i64 ahead = state::nanoseconds_of(clock) - saved;
      return ahead < 0 || ahead > a_minute;
    };
    if (differs(sys::abi::clock_monotonic, birth_.monotonic_ns))
      line_.append("; its monotonic clock is this machine's");
    if (birth_.way != restart::way::keep && !proc_is_own())
      line_.append("; /proc shows the numbers of outside");
  }

  static bool proc_is_own() {
    char link[32];
    const auto size = sys::readlinkat(sys::abi::at_fdcwd, "/proc/self", link, sizeof link);
    if (!size.ok()) return false;
    const auto number = parse_number({link, *size});
    return number.ok() && static_cast<int>(*number) == sys::getpid();
  }

  identity_wish wish_;
  bytes metadata_;
  state::caller caller_;
  birth birth_;
  fixed_text<200> reason_;
  fixed_text<400> line_;
};

}  // namespace ckpt::restart
