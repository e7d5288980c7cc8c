// SPDX-License-Identifier: MIT
// Programs that would notice a stranger: who wait for any child, count SIGCHLD, trace a child, live
// under a strict seccomp filter, are not dumpable. Named by the second argument; whatever a checkpoint
// or its refusal lets them see is a loss.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstddef>

#include "victim.hpp"

static volatile int child_signals;
static void count_child(int) { child_signals = child_signals + 1; }

static void announce_child(pid_t child) {
  char text[64];
  snprintf(text, sizeof text, "child %d\n", static_cast<int>(child));
  victim::say(text);
}

static pid_t child_until_stop(int status) {
  pid_t child = fork();
  if (child < 0) victim::broken("fork");
  if (child == 0) {
    while (!victim::stop_requested()) usleep(2000);
    _exit(status);
  }
  announce_child(child);
  return child;
}

static void no_child_left() {
  int status = 0;
  pid_t got = waitpid(-1, &status, __WALL | WNOHANG);
  if (got != -1 || errno != ECHILD)
    victim::lost("a child that the program has not started: %d", static_cast<int>(got));
}

// Blocked in the kernel for a child of any kind, again and again.
static void wait_for_any() {
  pid_t child = child_until_stop(5);
  victim::ready();
  int status = 0;
  errno = 0;
  pid_t got = wait4(-1, &status, __WALL, nullptr);
  if (got != child || !WIFEXITED(status) || WEXITSTATUS(status) != 5)
    victim::lost("wait4 gave %d, errno %d, status %#x, and the child is %d", static_cast<int>(got),
                 errno, static_cast<unsigned>(status), static_cast<int>(child));
  no_child_left();
}

static void poll_for_any() {
  victim::ready();
  for (uint64_t turn = 0; turn % 1024 != 0 || !victim::stop_requested(); ++turn) {
    int status = 0;
    errno = 0;
    pid_t got = waitpid(-1, &status, WNOHANG | __WALL);
    if (got != -1 || errno != ECHILD)
      victim::lost("waitpid gave %d, errno %d", static_cast<int>(got), errno);
  }
}

static void count_signals(const std::string& kind) {
  struct sigaction action {}, after {};
  action.sa_handler = kind == "sigchld-ignored" ? SIG_IGN : count_child;
  action.sa_flags = kind == "nocldwait" ? SA_NOCLDWAIT : 0;
  if (sigaction(SIGCHLD, &action, nullptr) != 0) victim::broken("sigaction");
  if (kind == "subreaper") prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  victim::work_until_stop();
  if (child_signals != 0) victim::lost("%d SIGCHLD", child_signals);
  no_child_left();
  int adopts = 0;
  prctl(PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0);
  victim::expect_equal("the subreaper setting", kind == "subreaper", static_cast<uint64_t>(adopts));
  sigaction(SIGCHLD, nullptr, &after);
  if (after.sa_handler != action.sa_handler) victim::lost("the disposition of SIGCHLD");
  // Its own children are seen, or reap themselves, as before.
  pid_t child = fork();
  if (child == 0) _exit(3);
  int status = 0;
  pid_t got;
  while ((got = waitpid(child, &status, 0)) < 0 && errno == EINTR) {}
  const bool reaped_itself = kind == "sigchld-ignored" || kind == "nocldwait";
  if (reaped_itself ? got != -1 : got != child || WEXITSTATUS(status) != 3)
    victim::lost("its own child: %d, status %#x", static_cast<int>(got), static_cast<unsigned>(status));
  if (kind != "sigchld-ignored" && child_signals != 1) victim::lost("its own child's signal");
}

static void trace_a_child() {
  pid_t child = child_until_stop(6);
  if (ptrace(PTRACE_SEIZE, child, nullptr, nullptr) != 0) victim::skip("ptrace is not permitted here");
  victim::ready();
  uint64_t stops = 0;
  while (!victim::stop_requested()) {
    if (ptrace(PTRACE_INTERRUPT, child, nullptr, nullptr) != 0) break;
    int status = 0;
    if (waitpid(-1, &status, __WALL) != child || !WIFSTOPPED(status)) {
      if (WIFEXITED(status)) break;
      victim::lost("not the child's stop: %#x", static_cast<unsigned>(status));
    }
    ++stops;
    if (ptrace(PTRACE_CONT, child, nullptr, nullptr) != 0 && errno != ESRCH)
      victim::lost("PTRACE_CONT: %s", strerror(errno));
    victim::compute();
  }
  int status = 0;
  while (waitpid(child, &status, __WALL) == child && WIFSTOPPED(status))
    ptrace(PTRACE_CONT, child, nullptr, nullptr);
  if (stops == 0) victim::lost("the child was never stopped");
  no_child_left();
}

// Everything but what such a program needs ends it: also what is only asked.
static void under_filter() {
  const unsigned allowed[] = {__NR_read,         __NR_write,          __NR_openat,
                              __NR_close,        __NR_fstat,          __NR_access,
                              __NR_rt_sigaction, __NR_rt_sigprocmask, __NR_rt_sigreturn,
                              __NR_brk,          __NR_mmap,           __NR_munmap,
                              __NR_exit_group};
  constexpr unsigned char count = std::size(allowed);
  sock_filter code[count + 3];
  code[0] = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr));
  for (unsigned char i = 0; i < count; ++i)
    code[i + 1] = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i],
                           static_cast<unsigned char>(count - i), 0);
  code[count + 1] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
  code[count + 2] = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  const sock_fprog program{count + 3, code};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
    victim::skip("no seccomp here");
  victim::work_until_stop();
}

static void not_dumpable() {
  if (prctl(PR_SET_DUMPABLE, 0) != 0) victim::broken("PR_SET_DUMPABLE");
  victim::ready();
  while (!victim::stop_requested())
    if (prctl(PR_GET_DUMPABLE) != 0) victim::lost("it has become dumpable");
  victim::expect_equal("dumpable", 0, static_cast<uint64_t>(prctl(PR_GET_DUMPABLE)));
}

int main(int count, char** values) {
  victim::begin(count, values);
  const std::string kind = count > 2 ? values[2] : "";
  if (kind == "wait-any") wait_for_any();
  else if (kind == "poll-any") poll_for_any();
  else if (kind == "ptracer") trace_a_child();
  else if (kind == "filter") under_filter();
  else if (kind == "not-dumpable") not_dumpable();
  else count_signals(kind);
  return victim::finish();
}
