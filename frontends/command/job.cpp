// SPDX-License-Identifier: MIT
#include "job.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <utility>

#include "../hijack/outside.hpp"
#include "ckpt/proc/stat.hpp"
#include "ckpt/proc/text_file.hpp"
#include "exit_status.hpp"
#include "job_lock.hpp"
#include "job_place.hpp"
#include "job_say.hpp"
#include "job_witness.hpp"

namespace ckpt::command {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

std::string name_of_signal(int signal) {
  if (signal < 32) return "SIG" + std::string(options::signal_names[signal]);
  return "signal " + std::to_string(signal);
}

class job {
 public:
  job(const job_options& given, const settings& for_agent, const agent::config& config, char** command)
      : given_(given), settings_(for_agent), config_(config), command_(command),
        place_(given, config, command) {
    std::memcpy(on_, given.on, sizeof on_);
    program_ = shown(command[0]);
  }

  int run() {
    if (!place_.choose_name()) return own_failure;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask_);
    take_trigger();
    int status = 0;
    if (given_.resume) {
      if (!place_.take_lock(lock_)) return own_failure;
      status = look();
    }
    if (status == 0) status = start();
    if (status == 0) return watch();
    lock_.remove();
    return status;
  }

 private:
  // --- before the program ------------------------------------------------------------------

  /// A signal that would end ckpt, were it not blocked: the lock must go first. 0 when there is none.
  [[nodiscard]] int wanted_end() const {
    sigset_t pending;
    if (sigpending(&pending) != 0) return 0;
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGXCPU}) {
      struct sigaction action {};
      if (sigismember(&pending, signal) == 1 && on_[signal] == on_signal::pass_on &&
          sigismember(&mask_, signal) == 0 && sigaction(signal, nullptr, &action) == 0 &&
          action.sa_handler == SIG_DFL)
        return signal;
    }
    return 0;
  }

  int look() {
    switch (place_.look([this] { return wanted_end() != 0; })) {
      case job_place::start::program: return 0;
      case job_place::start::image: from_image_ = true; return 0;
      case job_place::start::failed: return own_failure;
      case job_place::start::interrupted: break;
    }
    const int signal = wanted_end();
    lock_.remove();
    let_act(signal);
    return 128 + signal;
  }

  /// The trigger of -a is a wish like those of --on, when it is sent to ckpt.
  void take_trigger() {
    agent::config config = config_;
    const char* variable = std::getenv("CKPT_ASYNCSIG");
    if (variable != nullptr && !option_given("signal")) (void)config.set(options::id::signal, variable);
    variable = std::getenv("CKPT_CONTINUE");
    if (variable != nullptr && !config.continues_given) (void)config.set(options::id::continues, variable);
    if (config.signal > 0 && config.signal <= sys::abi::signal_count &&
        on_[config.signal] == on_signal::pass_on)
      on_[config.signal] =
          config.continues ? on_signal::checkpoint_and_continue : on_signal::checkpoint_and_exit;
  }
  [[nodiscard]] bool option_given(std::string_view name) const {
    for (const auto& [key, value] : settings_)
      if (key == name) return true;
    return false;
  }

  // --- the program's process ---------------------------------------------------------------

  int start() {
    // Whoever started us may ignore it, and then nobody hears of the program's end.
    struct sigaction standard {};
    sigaction(SIGCHLD, &standard, &child_action_);
    int go[2];
    if (pipe2(go, O_CLOEXEC) != 0) return cannot_start("no descriptor is left");
    for (int& end : go)
      if (const int moved = fcntl(end, F_DUPFD_CLOEXEC, 3); moved >= 0) {
        close(end);
        end = moved;
      }
    place_.remember();
    child_ = fork();
    if (child_ == 0) {
      close(go[1]);
      char word = 0;
      if (read(go[0], &word, 1) != 1) _exit(own_failure);  // ckpt has been killed
      close(go[0]);
      become_program();
    }
    close(go[0]);
    if (child_ < 0) return cannot_start(std::strerror(errno));
    pidfd_ = sys::unique_fd(static_cast<int>(syscall(SYS_pidfd_open, child_, 0)));
    if (!witness_.start(pidfd_.get(), program_, lock_)) {
      const int error = errno;
      close(go[1]);
      while (waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
      }
      return cannot_start(std::strerror(error));
    }
    started_ = clock::now();
    place_.started();
    const char word = 1;
    if (write(go[1], &word, 1) != 1) return cannot_start(std::strerror(errno));
    close(go[1]);
    // Who reads the program's output must see its end. Our own lines go to standard error.
    close(0);
    close(1);
    return 0;
  }
  int cannot_start(std::string_view why) {
    say("cannot start ", program_, ": ", why);
    return own_failure;
  }

  [[noreturn]] void become_program() {
    sigaction(SIGCHLD, &child_action_, nullptr);
    sigprocmask(SIG_SETMASK, &mask_, nullptr);
    if (!from_image_) _exit(launch(settings_, command_));
    place_.become_image();
  }

  // --- beside it ---------------------------------------------------------------------------

  int watch() {
    for (;;) {
      const bool hurry = request_ != nullptr;
      sigset_t all;
      sigfillset(&all);
      siginfo_t info{};
      const bool looks_for_agent = from_image_ && !seen_running_;
      const timespec soon{0, hurry ? 2'000'000 : 20'000'000};
      const int signal = hurry || looks_for_agent ? sigtimedwait(&all, &info, &soon)
                                                  : sigwaitinfo(&all, &info);
      if (signal > 0 && signal != SIGCHLD) take_signal(signal, info);
      if (request_ != nullptr) look_at_request();
      if (request_ == nullptr) begin_next();
      if (looks_for_agent) seen_running_ = hijack::has_agent(child_);
      if (const auto status = reap(); status.has_value()) return *status;
    }
  }

  void take_signal(int signal, const siginfo_t& info) {
    const bool group = witness_.went_to_group(signal);
    const auto what = on_[signal];
    if (what != on_signal::pass_on) {
      // One that stops a program has stopped this one, unless it handles it.
      if (group && (signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU)) stopped_by_wish_ = true;
      wishes_[signal] = true;
      return;
    }
    if (group || revoked(signal)) return;
    pass_on(signal, &info);
  }

  void pass_on(int signal, const siginfo_t* info) {
    // Only the sender of a queued signal may say more than kill(2) does.
    const bool queued = info != nullptr && info->si_code < 0 && info->si_code != SI_TKILL;
    siginfo_t copy{};
    if (queued) copy = *info;
    if (!queued || syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, &copy, 0) != 0)
      (void)syscall(SYS_pidfd_send_signal, pidfd_.get(), signal, nullptr, 0);
  }

  /// SIGCONT and the signals that stop take each other out of every queue.
  static bool revoked(int signal) {
    sigset_t pending;
    if (sigpending(&pending) != 0) return false;
    const auto waits = [&](int other) { return sigismember(&pending, other) == 1; };
    if (signal == SIGCONT) return waits(SIGTSTP) || waits(SIGTTIN) || waits(SIGTTOU);
    if (signal == SIGTSTP || signal == SIGTTIN || signal == SIGTTOU) return waits(SIGCONT);
    return false;
  }

  /// One at a time; those that end the program come last, so that none is left out.
  void begin_next() {
    for (const auto what : {on_signal::checkpoint_and_continue, on_signal::checkpoint_and_exit})
      for (int signal = 1; signal <= sys::abi::signal_count; ++signal)
        if (wishes_[signal] && on_[signal] == what) {
          wishes_[signal] = false;
          return begin(signal, what);
        }
  }

  void begin(int signal, on_signal what) {
    signal_ = signal;
    ends_ = what == on_signal::checkpoint_and_exit;
    hijack::outside_wish wish;
    wish.goes_on = !ends_;
    if (given_.resume) wish.name = place_.pattern();
    report why;
    // The agent may not be there yet, and a stop of the terminal's may be on its way.
    constexpr milliseconds to_load{10'000};
    constexpr int patience_ms = 60'000;
    for (int stops = 0;;) {
      if (stopped_by_wish_ && !ended()) go_on();
      auto request = std::make_unique<hijack::outside_checkpoint>();
      const auto outcome = request->begin(child_, wish, patience_ms, why);
      if (outcome.ok()) {
        request_ = std::move(request);
        stopped_by_wish_ = false;
        return;
      }
      if (ended()) return;
      const bool young = clock::now() - started_ < to_load;
      if ((request->no_agent() && young) || (stopped_by_wish_ && ++stops < 20)) {
        usleep(5000);
        continue;
      }
      break;
    }
    stopped_by_wish_ = false;
    refused("no checkpoint of process " + std::to_string(child_) + ": " + std::string(why.line()) +
            "; the program goes on");
  }
  void go_on() { (void)syscall(SYS_pidfd_send_signal, pidfd_.get(), SIGCONT, nullptr, 0); }
  [[nodiscard]] bool ended() const {
    pollfd p{pidfd_.get(), POLLIN, 0};
    return poll(&p, 1, 0) != 0;
  }

  void look_at_request() {
    hijack::outside_answer answer;
    const auto there = request_->look(answer);
    if (there.ok() && !*there) return;
    request_.reset();
    if (!there.ok()) return;  // the program's end is seen elsewhere
    if (answer.held) {  // ckpt_hold: asked again until the program has released them
      wishes_[signal_] = true;
      usleep(5000);
      return;
    }
    if (!answer.complete) return refused(answer.line);
    failed_[signal_] = false;
    if (ends_) ended_by_checkpoint_ = true;
    if (config_.verbose)
      say("checkpoint ", quoted{answer.line}, ", ", answer.image_size, " bytes, ", answer.milliseconds,
          " ms");
  }

  /// Who asks for a checkpoint and the end may ask twice; then he gets at least the end that the
  /// signal means without ckpt.
  void refused(const std::string& line) {
    const bool again = ends_ && failed_[signal_];
    failed_[signal_] = ends_;
    if (!again) return say(line);
    say(line, ", and gets ", name_of_signal(signal_), " itself");
    pass_on(signal_, nullptr);
    failed_[signal_] = false;
  }

  /// What ckpt is to exit with, once the program has ended.
  std::optional<int> reap() {
    for (;;) {
      int status = 0;
      const pid_t got = waitpid(-1, &status, WNOHANG | WUNTRACED | __WALL);
      if (got == 0 || (got < 0 && errno != EINTR)) return {};
      if (got != child_) continue;  // an orphan, where ckpt is process 1
      if (WIFSTOPPED(status)) {
        if (still_stopped()) stop_like(WSTOPSIG(status));
        continue;
      }
      return end_like(status);
    }
  }

  [[nodiscard]] bool still_stopped() const {
    char room[1024];
    const auto text = proc::read_text(("/proc/" + std::to_string(child_) + "/stat").c_str(), room);
    const auto stat = text.ok() ? proc::parse_stat(*text) : text.error();
    return !stat.ok() || stat->state == 'T' || stat->state == 't';
  }

  /// Returns when the shell lets us go on. A stop for which a checkpoint is wanted is none.
  void stop_like(int signal) {
    if (on_[signal] != on_signal::pass_on && (wishes_[signal] || stopped_by_wish_)) return;
    if (witness_.went_to_group(signal) && on_[signal] != on_signal::pass_on) {
      wishes_[signal] = stopped_by_wish_ = true;
      return;
    }
    let_act(signal);
  }
  /// As on a process that does nothing about it.
  static void let_act(int signal) {
    struct sigaction standard {};
    sigaction(signal, &standard, nullptr);
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signal);
    kill(getpid(), signal);
    sigprocmask(SIG_UNBLOCK, &one, nullptr);
    sigprocmask(SIG_BLOCK, &one, nullptr);
  }

  std::optional<int> end_like(int status) {
    if (request_ != nullptr) look_at_request();
    const bool exited = WIFEXITED(status);
    const int code = exited ? WEXITSTATUS(status) : 0;
    int result = code;
    // Whatever asked for it: the program itself, its own trigger, we. Where the status is the same either
    // way nobody need ask.
    std::optional<bool> by_checkpoint = ended_by_checkpoint_;
    if (exited && code == 0 && !ended_by_checkpoint_ && (given_.resume || given_.exit_code != 0))
      by_checkpoint = place_.ended_by_checkpoint([this] { return wanted_end() != 0; });
    witness_.end();
    // An image that could not be restarted is no less good for it.
    const bool never_ran = from_image_ && !seen_running_ && code == own_failure;
    if (!by_checkpoint)
      result = own_failure;
    else if (*by_checkpoint)
      result = given_.exit_code;
    else if (exited && given_.resume && !never_ran)
      place_.finish();
    lock_.remove();
    if (exited) return result;
    const int signal = WTERMSIG(status);
    const rlimit none{0, 0};  // the program has left its core already
    setrlimit(RLIMIT_CORE, &none);
    let_act(signal);
    return 128 + signal;  // the first process of a container cannot kill itself
  }

  const job_options& given_;
  const settings& settings_;
  const agent::config& config_;
  char** command_;
  std::string program_;  // as messages name it
  job_place place_;
  on_signal on_[sys::abi::signal_count + 1];
  job_lock lock_;
  job_witness witness_;
  bool from_image_ = false;
  bool seen_running_ = false;  // since then

  sigset_t mask_{};
  struct sigaction child_action_ {};
  pid_t child_ = -1;
  sys::unique_fd pidfd_;
  clock::time_point started_;

  bool wishes_[sys::abi::signal_count + 1] = {};
  bool failed_[sys::abi::signal_count + 1] = {};
  bool stopped_by_wish_ = false;
  std::unique_ptr<hijack::outside_checkpoint> request_;
  int signal_ = 0;
  bool ends_ = false;
  bool ended_by_checkpoint_ = false;
};

}  // namespace

int run_job(const job_options& given, const settings& for_agent, const agent::config& config,
            char** command_line) {
  if (!given.resume && (given.fresh_if_bad || given.keep_image)) {
    say(given.keep_image ? "--keep-image" : "--fresh-if-bad", " means something only with --resume");
    return own_failure;
  }
  return job(given, for_agent, config, command_line).run();
}

}  // namespace ckpt::command
