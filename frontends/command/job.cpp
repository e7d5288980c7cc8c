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
#include "ckpt/state/host.hpp"
#include "job_image.hpp"
#include "job_lock.hpp"
#include "job_remote.hpp"
#include "job_witness.hpp"

namespace ckpt::command {
namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int own_failure = 125;

template <class... Parts>
void say(const Parts&... parts) {
  fixed_text<4200> line;
  line.append("ckpt: ");
  (line.append(parts), ...);
  std::fprintf(stderr, "%s\n", line.c_str());
}

std::string name_of_signal(int signal) {
  if (signal < 32) return "SIG" + std::string(options::signal_names[signal]);
  return "signal " + std::to_string(signal);
}

class job {
 public:
  job(const job_options& given, const settings& for_agent, const agent::config& config, char** command)
      : given_(given), settings_(for_agent), config_(config), command_(command) {
    std::memcpy(on_, given.on, sizeof on_);
    program_ = shown(command[0]);
  }

  int run() {
    if (!choose_name()) return own_failure;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &mask_);
    take_trigger();
    if (given_.resume) {
      if (!take_lock()) return own_failure;
      const int status = look_at_image();
      if (status != 0) {
        lock_.remove();
        return status;
      }
    }
    before_ = header_of(elsewhere_ ? fallback_ : image_);
    const int status = start();
    if (status != 0) {
      lock_.remove();
      return status;
    }
    return watch();
  }

 private:
  // --- before the program ------------------------------------------------------------------

  /// As the agent would choose it, absolute.
  bool choose_name() {
    agent::config named = config_;
    if (named.name.empty()) {
      const char* variable = std::getenv("CKPT_NAME");
      if (variable == nullptr || !named.set(options::id::name, variable)) {
        named.name.clear();
        options::append_literally(named.name, options::base_of(command_[0]));
        named.name.append(".ckpt");
      }
    }
    agent::make_absolute(named.name);
    pattern_ = named.name.view();
    if (!stands_for_several(pattern_)) {
      fixed_text<agent::name_capacity> name;
      (void)options::expand_name(pattern_, {}, name);
      image_ = name.view();
    }
    elsewhere_ = options::goes_elsewhere(pattern_);
    const bool command = pattern_.starts_with("exec:");
    if (elsewhere_ && !command && !image_.empty()) fallback_ = fallback_of(image_);
    if (!given_.resume) return true;
    if (command) {
      say("--resume needs an image that it can read again, and ", quoted{pattern_},
          " gives it to a command; give another name with -n, or restart it by ckpt-restart");
      return false;
    }
    if (named.name.truncated()) {
      say("the name of the image is too long");
      return false;
    }
    if (stands_for_several(pattern_)) {
      say("--resume needs one name for all its runs, and ", quoted{pattern_},
          " has a % in it; give another one with -n");
      return false;
    }
    return true;
  }
  static bool stands_for_several(std::string_view pattern) {
    for (std::size_t i = 0; i + 1 < pattern.size(); ++i)
      if (pattern[i] == '%' && pattern[++i] != '%') return true;
    return false;
  }

  bool take_lock() {
    std::string holder;
    int error = 0;
    if (lock_.take(elsewhere_ ? lock_place_of(image_) : image_, holder, error)) return true;
    if (error == EAGAIN)
      say(quoted{image_}, " is in use by another ckpt --resume (",
          holder.empty() ? std::string("it does not say which") : shown(holder),
          "); wait for its end, or give another name with -n");
    else
      say("cannot lock the name ", quoted{image_}, ": ", std::strerror(error),
          "; give a name in a directory where you may write");
    return false;
  }

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

  /// The newer of what the server has and what was kept here because the server did not take it; `name`
  /// is what it is called.
  image_look look_elsewhere(const seen_command& wanted, const std::function<bool()>& stop, std::string& name) {
    auto remote = fetch(image_, false, stop);
    image_look look;
    look.why = remote.why;
    switch (remote.state) {
      case remote_image::outcome::interrupted: look.state = image_state::interrupted; return look;
      case remote_image::outcome::failed: look.state = image_state::unreadable; return look;
      case remote_image::outcome::damaged: look.state = image_state::bad; return look;
      case remote_image::outcome::absent: break;
      case remote_image::outcome::there:
        path_ = "/proc/self/fd/" + std::to_string(remote.file.get());
        look = command::look_at_image(path_, wanted, stop);
        fetched_ = std::move(remote.file);
        at_server_ = header_of(path_);
        break;
    }
    if (fallback_.empty() || (look.state != image_state::absent && look.state != image_state::good)) return look;
    auto kept = command::look_at_image(fallback_, wanted, stop);
    // Another program's may have the same last part of its name.
    if (kept.state == image_state::absent || kept.state == image_state::other ||
        (kept.state == image_state::good && look.state == image_state::good && kept.made_ns < look.made_ns))
      return look;
    name = path_ = fallback_;
    fetched_.reset();
    return kept;
  }

  int look_at_image() {
    const auto wanted = seen_by_program(command_);
    const std::function<bool()> stop = [this] { return wanted_end() != 0; };
    std::string looked_at = image_;
    const auto look = elsewhere_ ? look_elsewhere(wanted, stop, looked_at) : command::look_at_image(image_, wanted, stop);
    const bool at_server = elsewhere_ && looked_at == image_;
    switch (look.state) {
      case image_state::interrupted: {
        const int signal = wanted_end();
        lock_.remove();
        let_act(signal);
        return 128 + signal;
      }
      case image_state::absent: return 0;
      case image_state::good:
        from_image_ = true;
        return 0;
      case image_state::unreadable:
        if (at_server)
          say("cannot go on from ", quoted{image_}, ": ", look.why, "; try again when the server answers",
              !fallback_.empty() && access(fallback_.c_str(), F_OK) == 0 ? ", or run what was kept, " + shown(fallback_) : "");
        else
          say("cannot read ", quoted{looked_at}, ": ", look.why);
        return own_failure;
      case image_state::other:
        say("cannot go on from ", quoted{looked_at}, ": ", look.why, "; give another name with -n");
        return own_failure;
      case image_state::bad: break;
    }
    if (!given_.fresh_if_bad) {
      say("cannot go on from ", quoted{looked_at}, ": ", look.why,
          "; put a good one there, or start afresh with --fresh-if-bad");
      return own_failure;
    }
    fetched_.reset();
    const std::string kept = at_server ? set_aside_elsewhere() : set_aside(looked_at);
    if (kept.empty()) {
      say("cannot rename ", quoted{looked_at}, ", which is bad (", look.why, "): ",
          at_server ? "as ckpt-transfer says" : std::strerror(errno));
      return own_failure;
    }
    say("cannot go on from ", quoted{looked_at}, ": ", look.why, "; it is ", quoted{kept},
        " now, and the program starts afresh");
    return 0;
  }

  /// The new name of what is at the server; empty when that cannot be done.
  [[nodiscard]] std::string set_aside_elsewhere() const {
    constexpr int most = 100;
    for (int number = 0; number < most; ++number) {
      const std::string to = image_ + ".bad" + (number == 0 ? "" : "." + std::to_string(number));
      const auto outcome = move_remote(image_, to, false);
      if (outcome == changed::occupied) continue;
      return outcome == changed::yes ? to : std::string();
    }
    return {};
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
    started_ns_ = state::nanoseconds_of(sys::abi::clock_realtime);
    const char word = 1;
    if (write(go[1], &word, 1) != 1) return cannot_start(std::strerror(errno));
    close(go[1]);
    fetched_.reset();
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
    if (path_.empty()) path_ = image_;
    std::vector<char*> words{path_.data()};
    // What it is called by others, and not where it lies for an instant.
    if (fetched_) words[0] = image_.data();
    std::string verbose = "--verbose";
    if (config_.verbose) words.push_back(verbose.data());
    words.push_back(nullptr);
    execv(path_.c_str(), words.data());
    // No permission to execute it, or a file system without: the restarter reads it.
    const int error = errno;
    std::string restarter = directory_of_ckpt() + "ckpt-restart";
    words[0] = path_.data();
    if (fetched_) (void)fcntl(fetched_.get(), F_SETFD, 0);
    words.insert(words.begin(), restarter.data());
    execv(restarter.c_str(), words.data());
    say("cannot run ", quoted{image_}, ": ", std::strerror(error));
    _exit(own_failure);
  }
  static std::string directory_of_ckpt() {
    char link[4096];
    const ssize_t size = readlink("/proc/self/exe", link, sizeof link);
    const std::string path(link, size > 0 ? static_cast<std::size_t>(size) : 0);
    return path.substr(0, path.rfind('/') + 1);
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
    if (given_.resume) wish.name = pattern_;
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
    // Whatever asked for it: the program itself, its own trigger, we.
    bool known = true;
    // Where the status is the same either way nobody need ask.
    if (exited && code == 0 && !ended_by_checkpoint_ && (given_.resume || given_.exit_code != 0)) known = look_at_end();
    witness_.end();
    int result = code;
    if (!known)
      result = own_failure;
    else if (ended_by_checkpoint_)
      result = given_.exit_code;
    else if (exited && given_.resume)
      finish(code);
    lock_.remove();
    if (exited) return result;
    const int signal = WTERMSIG(status);
    const rlimit none{0, 0};  // the program has left its core already
    setrlimit(RLIMIT_CORE, &none);
    let_act(signal);
    return 128 + signal;  // the first process of a container cannot kill itself
  }

  /// False when nobody can say whether a checkpoint has ended the program: a queue must not take that for
  /// its success.
  bool look_at_end() {
    const bool file = !elsewhere_;
    const std::string& here = file ? image_ : fallback_;
    if (!here.empty()) ended_by_checkpoint_ = ended_by_new_image(here, before_);
    if (ended_by_checkpoint_ || file || image_.empty() || pattern_.starts_with("exec:")) return true;
    const auto there = fetch(image_, true, [this] { return wanted_end() != 0; });
    if (there.state == remote_image::outcome::there)
      ended_by_checkpoint_ = ended_by_new_head(there.file.get(), at_server_, given_.resume ? 0 : started_ns_);
    if (there.state != remote_image::outcome::failed && there.state != remote_image::outcome::interrupted) return true;
    say("the program has ended, but whether by a checkpoint to ", quoted{image_}, " cannot be seen: ",
        there.why.empty() ? std::string("a signal has come") : there.why, "; look there before it is started again");
    return false;
  }

  /// The program has ended by itself. An image that could not be restarted is no less good for it.
  void finish(int code) const {
    if (from_image_ && !seen_running_ && code == own_failure) return;
    const auto left = [&](const std::string& name, const char* why) {
      say("the program has ended, but ", quoted{name}, " cannot be ", given_.keep_image ? "renamed" : "removed", ": ",
          why, "; remove it, or the next run goes on from it");
    };
    if (elsewhere_) {
      const auto outcome = given_.keep_image ? move_remote(image_, image_ + ".done", true) : remove_remote(image_);
      if (outcome == changed::failed) left(image_, "as ckpt-transfer says");
    }
    const std::string& here = elsewhere_ ? fallback_ : image_;
    if (here.empty() || access(here.c_str(), F_OK) != 0) return;
    // What lies in the directory for all may be another program's.
    if (elsewhere_ && command::look_at_image(here, seen_by_program(command_), [] { return false; }).state == image_state::other) return;
    const std::string done = here + ".done";
    if (given_.keep_image ? std::rename(here.c_str(), done.c_str()) != 0 : unlink(here.c_str()) != 0)
      left(here, std::strerror(errno));
  }

  const job_options& given_;
  const settings& settings_;
  const agent::config& config_;
  char** command_;
  std::string program_;  // as messages name it
  std::string pattern_;  // of the name, absolute
  std::string image_;    // its name, if it is the same each time
  bool elsewhere_ = false;  // it is not a file's
  std::string fallback_;    // the file that it is kept in when it could not be sent
  std::string path_;        // what is run to go on, where that is not image_
  sys::unique_fd fetched_;
  on_signal on_[sys::abi::signal_count + 1];
  job_lock lock_;
  job_witness witness_;
  format::file_header at_server_{};  // of what was there then
  format::file_header before_{};  // of what was there in a file when the program was started
  i64 started_ns_ = 0;
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

/// SIGTERM=exit,SIGUSR1=continue
bool take_on(job_options& job, std::string_view list) {
  while (!list.empty()) {
    const auto comma = list.find(',');
    const auto field = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    const auto equals = field.find('=');
    if (equals == std::string_view::npos || (comma != std::string_view::npos && list.empty())) return false;
    const auto signal = options::parse_signal(field.substr(0, equals));
    const auto what = field.substr(equals + 1);
    // Its own children's ends are ckpt's, and faults are the program's.
    if (!signal.ok() || *signal == 0 || *signal == SIGCHLD || *signal == SIGCONT) return false;
    if (what != "exit" && what != "continue") return false;
    job.on[*signal] =
        what == "exit" ? on_signal::checkpoint_and_exit : on_signal::checkpoint_and_continue;
    job.on_given = true;
  }
  return job.on_given;
}

}  // namespace

taken take_job_option(job_options& job, options::id id, std::string_view value) {
  switch (id) {
    case options::id::resume: job.resume = true; return taken::yes;
    case options::id::fresh_if_bad: job.fresh_if_bad = true; return taken::yes;
    case options::id::keep_image: job.keep_image = true; return taken::yes;
    case options::id::on: return take_on(job, value) ? taken::yes : taken::wrong;
    case options::id::exit_code: {
      const auto number = parse_number(value);
      if (!number.ok() || *number > 255) return taken::wrong;
      job.exit_code = static_cast<int>(*number);
      job.exit_code_given = true;
      return taken::yes;
    }
    default: return taken::no;
  }
}

int run_job(const job_options& given, const settings& for_agent, const agent::config& config,
            char** command_line) {
  if (!given.resume && (given.fresh_if_bad || given.keep_image)) {
    say(given.keep_image ? "--keep-image" : "--fresh-if-bad", " means something only with --resume");
    return own_failure;
  }
  return job(given, for_agent, config, command_line).run();
}

}  // namespace ckpt::command
