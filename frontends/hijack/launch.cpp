// SPDX-License-Identifier: MIT
//
// Three processes stand beside the one that becomes the program:
//   intermediate   makes the tracer and ends, so that the tracer is nobody's child
//   tracer         holds the program by ptrace over its execve, puts the agent in, lets go
//   witness        the tracer's child, which says so when the tracer is killed at its work
// A tracer that dies takes the program with it (PTRACE_O_EXITKILL): none of its instructions has
// run yet, and half an agent in it would be worse.
#include "launch.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#include "ckpt/sys/file.hpp"
#include "injection.hpp"

namespace ckpt::hijack {
namespace {

constexpr int own_failure = 125;

/// Above standard input, output and error, which a program may have closed.
int out_of_the_way(int fd) {
  if (fd < 0 || fd > 2) return fd;
  const int moved = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  close(fd);
  return moved;
}

/// A line on the standard error of whoever started the program.
void say(int fd, std::string_view program, std::string_view why) {
  fixed_text<2600> line;
  line.append("ckpt: cannot start ").append(program).append(": ").append(why).append('\n');
  sys::linux_files kernel;
  if (fd >= 0) (void)sys::write_all(kernel, fd, bytes_of_text(line.view()));
}

/// Everything but two descriptors: whoever reads the program's output must see its end.
void close_all_but(int first, int second) {
  const auto low = static_cast<unsigned>(first < second ? first : second);
  const auto high = static_cast<unsigned>(first < second ? second : first);
  const auto close_from = [](unsigned from, unsigned to) {
    if (from > to || syscall(SYS_close_range, from, to, 0) == 0) return;
    const long most = sysconf(_SC_OPEN_MAX);
    for (long fd = from; fd <= static_cast<long>(to) && fd < most; ++fd)
      close(static_cast<int>(fd));
  };
  if (first >= 0 && second >= 0) {
    if (low > 0) close_from(0, low - 1);
    close_from(low + 1, high - 1);
    close_from(high + 1, UINT_MAX);
  } else {
    if (high > 0) close_from(0, high - 1);
    close_from(high + 1, UINT_MAX);
  }
}

// --- the witness -----------------------------------------------------------------------------

class witness {
 public:
  /// Whoever has not said `done` when it is gone was killed at its work.
  bool start(int err, const launch_plan& plan, pid_t program) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return false;
    pid_ = fork();
    if (pid_ == 0) {
      close_all_but(err, ends[0]);
      char last = 0, next = 0;
      while (read(ends[0], &next, 1) == 1) last = next;
      if (last == begun && has_ended(program))
        say(err, plan.program,
            "the process that puts the agent into it was killed, and so was the program; start it "
            "again");
      if (last == letting_go && has_ended(program))
        say(err, plan.program,
            "the process that puts the agent into it was killed when it had done so; if the program "
            "was killed with it, start it again");
      _exit(0);
    }
    close(ends[0]);
    pipe_ = ends[1];
    return pid_ > 0;
  }
  void begin() { tell(begun); }
  /// The kernel is about to be told to spare the program. Nobody can say afterwards whether it was.
  void let_go() { tell(letting_go); }
  void end() {
    tell(done);
    close(pipe_);
    while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
    }
  }

 private:
  static constexpr char begun = 'b', letting_go = 'l', done = 'd';

  /// The kernel kills the program when its tracer ends; a moment later it is dead.
  static bool has_ended(pid_t program) {
    constexpr int a_second = 1000;
    pollfd ended{static_cast<int>(syscall(SYS_pidfd_open, program, 0)), POLLIN, 0};
    return ended.fd < 0 || poll(&ended, 1, a_second) != 0;
  }
  void tell(char what) {
    // A witness that was killed is not missed: SIGPIPE is blocked, as all signals are.
    if (write(pipe_, &what, 1) != 1) return;
  }
  pid_t pid_ = -1;
  int pipe_ = -1;
};

// --- the tracer ------------------------------------------------------------------------------

/// Waits until the program is in place. Until then the process lives as if nobody held it.
result<void> wait_for_exec(tracee& t) {
  for (;;) {
    const stop s = CKPT_TRY(t.wait());
    switch (s.kind) {
      case stop_kind::exec:
        return {};
      case stop_kind::ended:
        return errc::gone;
      case stop_kind::signal:
        CKPT_TRY(t.go_on(s.number));
        break;
      case stop_kind::system_call:
        CKPT_TRY(t.go_on());
        break;
      case stop_kind::group:
        if (s.number == SIGTRAP)
          CKPT_TRY(t.go_on());
        else
          CKPT_TRY(t.stay_stopped());
        break;
    }
  }
}

/// An exception would let go of the program on its way out, which would then run without the agent:
/// noexcept, so that it ends this process instead, and the program with it.
[[noreturn]] void trace_program(const launch_plan& plan, tracee& t, pid_t program,
                                int channel) noexcept {
  // Signals are blocked since before this process was there. The directory may be unmounted.
  if (chdir("/") != 0) _exit(1);
  const int err = fcntl(2, F_DUPFD_CLOEXEC, 3);
  close_all_but(err, channel);

  const int number = getpid();
  (void)send(channel, &number, sizeof number, MSG_NOSIGNAL);
  char leave = 0;
  if (read(channel, &leave, 1) != 1) _exit(0);  // the program's process is gone
  witness guard;
  int error = guard.start(err, plan, program) ? 0 : errno;
  if (error == 0) {
    guard.begin();
    const auto seized = t.seize(program, PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    error = seized.ok() ? 0 : static_cast<int>(seized.error());
    if (error != 0) guard.end();
  }
  (void)send(channel, &error, sizeof error, MSG_NOSIGNAL);
  close(channel);
  if (error != 0) _exit(1);

  report why;
  auto outcome = wait_for_exec(t);
  if (outcome.ok()) {
    // Process 1, or one that adopts orphans (PR_SET_CHILD_SUBREAPER, which execve keeps).
    const pid_t adopted = getppid() == program ? getpid() : 0;
    outcome = put_into_new_program(t, plan.agent, plan.options, adopted, why);
    if (outcome.ok()) {
      guard.let_go();
      outcome = t.survive_me();
    }
    if (!outcome.ok() && !t.dead()) {
      (void)why.explain(outcome.error(),
                        "it is statically linked, and the agent cannot be put into it");
      say(err, plan.program, why.line());
      end_new_program(t, own_failure);
    }
  }
  close(err);
  guard.end();
  t.release();
  _exit(0);
}

// --- the process that becomes the program ------------------------------------------------------

class all_signals_blocked {
 public:
  all_signals_blocked() {
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before_);
  }
  ~all_signals_blocked() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  all_signals_blocked(const all_signals_blocked&) = delete;
  all_signals_blocked& operator=(const all_signals_blocked&) = delete;

 private:
  sigset_t before_{};
};

/// After unshare(CLONE_NEWPID) the first child is process 1 of a new namespace, which ends with it.
bool children_share_namespace() {
  char own[64] = {}, childrens[64] = {};
  if (readlink("/proc/self/ns/pid", own, sizeof own - 1) <= 0) return true;
  const ssize_t size = readlink("/proc/self/ns/pid_for_children", childrens, sizeof childrens - 1);
  return size > 0 && std::string_view(own) == childrens;
}

/// The tracer's number, or an errno.
result<pid_t> start_tracer(const launch_plan& plan, tracee& t, const int (&channel)[2]) {
  const pid_t program = getpid();
  // Without a signal at its end: one that is blocked would stay pending for the program.
  const auto intermediate = static_cast<pid_t>(syscall(SYS_clone, 0, 0, 0, 0, 0));
  if (intermediate < 0) return static_cast<errc>(errno);
  if (intermediate == 0) {
    // Whoever stops the program's group may continue the program alone.
    setsid();
    const pid_t tracer = fork();
    if (tracer == 0) trace_program(plan, t, program, channel[1]);
    const int error = -errno;  // otherwise the tracer itself says its number
    if (tracer < 0) (void)send(channel[1], &error, sizeof error, MSG_NOSIGNAL);
    _exit(0);
  }
  close(channel[1]);
  // The intermediate may be stopped with the group before it has left it.
  constexpr int soon = 20;  // ms
  for (pollfd answer{channel[0], POLLIN, 0}; poll(&answer, 1, soon) == 0;)
    kill(intermediate, SIGCONT);
  int told = 0;
  const ssize_t got = recv(channel[0], &told, sizeof told, MSG_WAITALL);
  while (waitpid(intermediate, nullptr, __WALL) < 0 && errno == EINTR) {
  }
  if (got != static_cast<ssize_t>(sizeof told)) return errc::gone;
  if (told < 0) return static_cast<errc>(-told);
  return told;
}

}  // namespace

result<void> inject_at_exec(const launch_plan& plan, report& why) {
  if (!children_share_namespace())
    return why.refuse(
        "it is statically linked, and its first child is to begin a new PID "
        "namespace (unshare --pid): unshare with --fork");
  tracee t;  // the tracer's, made where a lack of memory has a line
  int channel[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) != 0)
    return why.explain(static_cast<errc>(errno), "cannot make a pair of sockets");
  for (int& end : channel) end = out_of_the_way(end);
  const all_signals_blocked signals;
  const sys::unique_fd ours(channel[0]);
  const auto tracer = start_tracer(plan, t, channel);
  if (!tracer.ok())
    return why.explain(tracer.error(),
                       "cannot start the process that puts the agent into it (a "
                       "limit on processes, RLIMIT_NPROC?)");
  (void)prctl(PR_SET_PTRACER, *tracer, 0, 0, 0);  // EINVAL where there is no Yama
  int error = EIO;
  const char leave = 0;
  if (send(ours.get(), &leave, 1, MSG_NOSIGNAL) != 1 ||
      recv(ours.get(), &error, sizeof error, MSG_WAITALL) != static_cast<ssize_t>(sizeof error))
    return why.refuse("the process that puts the agent into it was killed; start it again");
  if (error == EPERM || error == EACCES)
    return why.refuse(
        "it is statically linked, and the agent is put into such a program by ptrace, "
        "which is not permitted here; allow it (in a container, the capability or "
        "seccomp profile; with Yama, ptrace_scope below 2; no debugger or strace), or "
        "link it dynamically");
  if (error != 0) return why.explain(static_cast<errc>(error), "cannot hold it by ptrace");
  return {};
}

}  // namespace ckpt::hijack
