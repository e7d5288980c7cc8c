// SPDX-License-Identifier: MIT
//
// Images that go elsewhere than to a file, or come from there: ckpt-transfer, an ordinary program, knows
// what names, networks and compression are (docs/decisions/0013). For a checkpoint it is the helper's
// child and never the program's.
#pragma once

#include "agent_state.hpp"
#include "ckpt/image/writer.hpp"
#include "environment.hpp"
#include "transfer_place.hpp"

namespace ckpt::agent {

/// What ckpt-transfer says on its pipe: a letter; behind `done` where an image is that was fetched, and
/// otherwise the line why there is none.
namespace transfer_word {
inline constexpr char received = 'R', done = 'D';
}

inline constexpr u64 room_for_environment = u64{256} << 10;

class transfer {
 public:
  struct errand {
    const char* name;
    bool fetches = false;  // else it reads the image from the pipe
    bool may_lag = false;
    bool to_standard_error = true;
  };
  /// `room` is for the environment that ckpt-transfer gets. The starter's stack is free.
  // Context: helper, all threads frozen; ordinary, with the agent's lock
  result<void> start(const errand& e, mutable_bytes room, report& why) {
    int image[2];
    int status[2];
    const auto made = [&]() -> result<void> {
      CKPT_TRY(sys::pipe2(image, sys::abi::o_cloexec));
      image_ = sys::unique_fd(image[1]);
      read_ = sys::unique_fd(image[0]);
      // A reader that waits may not hold the helper: it looks after the program meanwhile.
      CKPT_TRY(sys::fcntl(image_.get(), sys::abi::f_setfl, sys::abi::o_nonblock));
      CKPT_TRY(sys::pipe2(status, sys::abi::o_cloexec));
      status_ = sys::unique_fd(status[0]);
      said_ = sys::unique_fd(status[1]);
      // Out of the way of what it gets as its own.
      for (auto* fd : {&image_, &read_, &status_, &said_})
        *fd = sys::unique_fd(static_cast<int>(
            CKPT_TRY(sys::fcntl(fd->get(), sys::abi::f_dupfd_cloexec, lowest_own))));
      return {};
    }();
    if (!made.ok()) return why.explain(made.error(), "cannot make a pipe for ckpt-transfer");
    errand_ = e;
    environment_ = filtered_environment(room);
    if (environment_ == nullptr) return why.refuse("the program's environment is too large for ckpt-transfer");
    // It runs in this memory until it has become another program, and this task waits for that.
    constexpr u64 vfork = 0x4000;
    const long child = start_task(sys::abi::clone_vm | vfork | sys::abi::clone_untraced,
                                  agent_starter_stack_end, nullptr, nullptr, &become, this);
    read_.reset();
    said_.reset();
    if (child < 0) return why.explain(static_cast<errc>(-child), "cannot start ckpt-transfer");
    child_ = static_cast<int>(child);
    if (failure_ == errc::none) return {};
    (void)sys::wait4(child_, nullptr, sys::abi::w_all);
    child_ = 0;
    const auto& configured = transfer_of_agent.given;
    if (configured.empty() && failure_ == errc::no_entry)
      return why.refuse("there is no ckpt-transfer, which carries images to such names, where ckpt is, in "
                        "PATH or in " CKPT_INSTALLED "; install it, or say where it is with CKPT_TRANSFER");
    return why.explain(failure_, "cannot start ", quoted{configured.empty() ? transfer_name.substr(1) : configured.view()},
                       ", which carries images to such names (CKPT_TRANSFER says where it is)");
  }

  /// Another process has both ends now, and writes the image.
  // Context: helper, all threads frozen
  void leave() {
    (void)let_go();
    image_.reset();
    status_.reset();
  }

  void was_reaped() { child_ = 0; }
  [[nodiscard]] bool started() const { return image_.get() >= 0; }
  [[nodiscard]] int child() const { return child_; }
  [[nodiscard]] int highest_descriptor() const {
    return image_.get() > status_.get() ? image_.get() : status_.get();
  }
  [[nodiscard]] int lowest_descriptor() const {
    return image_.get() < status_.get() ? image_.get() : status_.get();
  }
  int release_image() { return image_.release(); }

  /// Waits until the image is where its name says, or, if it may lag, until ckpt-transfer has all of it;
  /// `watch` says whether to go on waiting.
  // Context: helper
  template <class Watch>
  result<void> wait_for_end(report& why, Watch&& watch) {
    bool lags = false;
    fixed_text<1400> text;
    CKPT_TRY(listen(text, watch, [&] { return lags = errand_.may_lag; }));
    if (lags) return let_go();
    reap();
    return verdict(text.view(), why);
  }
  /// The file that it has fetched into and holds.
  // Context: ordinary
  result<int> wait_for_image(report& why) {
    fixed_text<1400> text;
    bool over = false;
    CKPT_TRY(listen(
        text,
        [&]() -> result<void> {
          // Somebody may have taken its end; what it has said before that is looked at once more.
          if (over) return errc::gone;
          const auto ended = sys::wait4(child_, nullptr, sys::abi::w_all | sys::abi::w_nohang);
          over = !ended.ok() || *ended != 0;
          if (over) child_ = 0;
          return {};
        },
        [] { return true; }));
    const auto outcome = verdict(text.view().substr(0, 1) == "D" ? "D" : text.view(), why);
    result<int> opened = errc::refused;  // and why is said
    if (outcome.ok())
      opened = sys::openat(sys::abi::at_fdcwd, text.c_str() + 1, sys::abi::o_rdonly | sys::abi::o_cloexec);
    give_up();
    return opened;
  }

  // Context: helper
  void give_up() {
    image_.reset();
    reap();
  }
  // Context: helper
  void reap() {
    if (child_ > 0) (void)sys::wait4(child_, nullptr, sys::abi::w_all);
    child_ = 0;
  }

 private:
  /// It says itself what comes of it; and the next image waits, so that none overtakes another.
  result<void> let_go() {
    auto& mine = state_of_agent.naming;
    const auto seen = image::look_at_process(child_);
    mine.carrier = child_;
    mine.carrier_start = seen.ok() ? seen->start : 0;
    child_ = 0;
    return {};
  }
  static constexpr int lowest_own = 8;

  /// All it says, until it is silent, done, or `received` wants no more.
  // Context: helper; ordinary
  template <class Watch, class Received>
  result<void> listen(fixed_text<1400>& text, Watch&& watch, Received&& received) {
    for (;;) {
      sys::abi::pollfd p{status_.get(), sys::abi::poll_in, 0};
      const auto ready = sys::poll(&p, 1, 10);
      if (!ready.ok() || *ready == 0) {
        CKPT_TRY(watch());
        continue;
      }
      char piece[256];
      const auto got = sys::read(status_.get(), piece, sizeof piece);
      if (!got.ok() && got.error() == errc::interrupted) continue;
      if (!got.ok() || *got == 0) return {};
      for (const char c : std::string_view(piece, *got)) {
        if (!text.empty() || c != transfer_word::received) text.append(c);
        else if (received()) return {};
      }
      if (text.view().starts_with(transfer_word::done)) return {};
    }
  }
  static result<void> verdict(std::string_view said, report& why) {
    if (said.size() == 1 && said[0] == transfer_word::done) return {};
    if (!said.empty()) return why.refuse(said.substr(1));
    return why.refuse("ckpt-transfer has died (out of memory, or killed)");
  }

  /// Without what would bring the agent into it.
  // Context: helper, all threads frozen
  static const char* const* filtered_environment(mutable_bytes room) {
    const auto stack = initial_stack::find();
    auto** to = reinterpret_cast<const char**>(room.data());
    u64 left = room.size() / sizeof(char*);
    if (stack.ok())
      for (char** p = stack->envp(); *p != nullptr; ++p) {
        if (std::string_view(*p).starts_with("LD_PRELOAD=")) continue;
        if (left < 2) return nullptr;
        *to++ = *p;
        --left;
      }
    *to = nullptr;
    return reinterpret_cast<const char* const*>(room.data());
  }

  /// The child: its descriptors are a copy of the helper's, and nothing of the program's stays.
  // Context: a process that shares the program's memory until it is ckpt-transfer; helper waits
  static void become(void* self) {
    auto& me = *static_cast<transfer*>(self);
    const auto fail = [&](errc error) {
      me.failure_ = error;
      sys::exit(127);
    };
    constexpr int read_write = 2;
    if (auto r = sys::dup3(me.read_.get(), 0, 0); !r.ok()) fail(r.error());
    if (auto r = sys::dup3(me.said_.get(), status_descriptor, 0); !r.ok()) fail(r.error());
    const auto none = sys::openat(sys::abi::at_fdcwd, "/dev/null", read_write, 0);
    if (!none.ok()) fail(none.error());
    (void)sys::dup3(*none, 1, 0);
    if (!me.errand_.to_standard_error) {
      const auto log = state_of_agent.config.log.view();
      const auto there =
          log.empty() ? result<int>(errc::no_entry)
                      : sys::openat(sys::abi::at_fdcwd, state_of_agent.config.log.c_str(),
                                    sys::abi::o_wronly | sys::abi::o_creat | sys::abi::o_append |
                                        sys::abi::o_noctty | sys::abi::o_nofollow | sys::abi::o_nonblock,
                                    0600);
      (void)sys::dup3(there.value_or(*none), 2, 0);
    }
    (void)sys::close_range(status_descriptor + 1, ~u32{0});
    // What the program ignores or blocks is its own affair.
    sys::abi::kernel_sigaction standard{};
    for (int signal = 1; signal <= sys::abi::signal_count; ++signal)
      (void)sys::rt_sigaction(signal, &standard, nullptr);
    const u64 no_signal = 0;
    (void)sys::rt_sigprocmask(sys::abi::sig_setmask, &no_signal, nullptr);
    lift_limits();
    fixed_text<80> compress;
    compress.append("--compress=").append(state_of_agent.config.compress.view());
    const char* argv[9];
    int n = 0;
    argv[n++] = "ckpt-transfer";
    argv[n++] = "--status-fd=3";
    if (me.errand_.may_lag) argv[n++] = "--later";
    if (state_of_agent.config.quiet) argv[n++] = "--quiet";
    if (!state_of_agent.config.compress.empty()) argv[n++] = compress.c_str();
    argv[n++] = me.errand_.fetches ? "fetch" : "put";
    if (!me.errand_.fetches) argv[n++] = "-";
    argv[n++] = me.errand_.name;
    argv[n] = nullptr;
    fail(run_transfer(argv, me.environment_));
  }
  /// So are the limits that it keeps below what it may have: ckpt-transfer needs a stack, and room for a
  /// file that is as large as the image.
  [[gnu::cold]] static void lift_limits() {
    constexpr u64 usual_stack = u64{8} << 20;
    for (int resource = 0; resource < sys::abi::rlimit_count; ++resource) {
      sys::abi::rlimit64 l{};
      if (resource == sys::abi::rlimit_core || !sys::prlimit64(resource, nullptr, &l).ok()) continue;
      if (resource != sys::abi::rlimit_stack) l.soft = l.hard;
      else if (l.soft < usual_stack) l.soft = l.hard < usual_stack ? l.hard : usual_stack;
      (void)sys::prlimit64(resource, &l, nullptr);
    }
  }

  static constexpr int status_descriptor = 3;

  sys::unique_fd image_, read_, status_, said_;
  int child_ = 0;
  errc failure_ = errc::none;
  errand errand_{};
  const char* const* environment_ = nullptr;
};

/// Whether the ckpt-transfer that was let go is still on its way.
// Context: signal handler, on the agent's stack
inline bool carrier_is_under_way() {
  auto& mine = state_of_agent.naming;
  if (mine.carrier == 0) return false;
  const auto seen = image::look_at_process(mine.carrier);
  if (seen.ok() && seen->lives && seen->start == mine.carrier_start) return true;
  mine.carrier = 0;
  return false;
}

/// Writes to files, and to a pipe whose reader may be slow or gone: `alive` says whether anybody still
/// wants the image.
template <class Alive>
struct patient_gather : sys::linux_files {
  Alive alive;
  bool is_pipe = false;

  // Context: helper
  result<u64> write(int fd, const void* from, u64 n) {
    CKPT_TRY(ready(fd));
    return waiting(sys::write(fd, from, n));
  }
  result<u64> writev(int fd, const sys::abi::iovec* pieces, int n) {
    CKPT_TRY(ready(fd));
    return waiting(sys::checked<u64>(sys::invoke(__NR_writev, fd, pieces, n)));
  }

 private:
  static result<u64> waiting(result<u64> r) {
    if (!r.ok() && r.error() == errc::again) return errc::interrupted;
    return r;
  }
  /// Until it takes something.
  result<void> ready(int fd) {
    while (is_pipe) {
      sys::abi::pollfd p{fd, sys::abi::poll_out, 0};
      const auto n = sys::poll(&p, 1, 10);
      if (n.ok() && *n > 0) break;
      if (!alive()) return errc::gone;
    }
    return {};
  }
};

}  // namespace ckpt::agent
