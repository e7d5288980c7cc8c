// SPDX-License-Identifier: MIT
// Dispositions with their flags and masks, the blocked mask, and pending signals with the values
// that rt_sigqueueinfo gave them, in their order.
//
// Fidelity: signals | dispositions, flags, masks, blocked signals | kept
// Fidelity: signals | pending signals with siginfo, real-time queues with values and order, SIGCHLD among them | kept
#include <signal.h>
#include <sys/syscall.h>

#include "victim.hpp"

struct kernel_action {
  void* handler;
  unsigned long flags;
  void* restorer;
  uint64_t mask;
};

static kernel_action action_of(int number) {
  kernel_action found{};
  syscall(SYS_rt_sigaction, number, nullptr, &found, 8);
  return found;
}

static int order[16];
static int values_seen[16];
static int codes_seen[16];
static volatile int deliveries;

static void record(int number, siginfo_t* info, void*) {
  int at = deliveries;
  deliveries = at + 1;
  if (at < 16) {
    order[at] = number;
    values_seen[at] = info->si_value.sival_int;
    codes_seen[at] = info->si_code;
  }
}

static void plain(int) {}

int main(int count, char** values) {
  victim::begin(count, values);
  struct sigaction action {};
  action.sa_sigaction = record;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaddset(&action.sa_mask, SIGHUP);
  for (int number : {SIGRTMIN + 3, SIGRTMIN + 4, SIGUSR1, SIGCHLD})
    sigaction(number, &action, nullptr);
  struct sigaction other {};
  other.sa_handler = plain;
  other.sa_flags = static_cast<int>(SA_RESETHAND) | SA_NODEFER;
  sigaddset(&other.sa_mask, SIGRTMAX);
  sigaction(SIGUSR2, &other, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGRTMIN + 9, SIG_IGN);
  signal(SIGTTIN, SIG_IGN);

  sigset_t blocked;
  sigemptyset(&blocked);
  for (int number : {SIGRTMIN + 3, SIGRTMIN + 4, SIGUSR1, SIGCHLD, SIGWINCH})
    sigaddset(&blocked, number);
  sigprocmask(SIG_SETMASK, &blocked, nullptr);
  for (int i = 0; i < 5; ++i) sigqueue(getpid(), SIGRTMIN + 3, sigval{.sival_int = 1000 + i});
  sigqueue(getpid(), SIGRTMIN + 4, sigval{.sival_int = 2000});
  sigqueue(getpid(), SIGUSR1, sigval{.sival_int = 3000});
  // One for the thread and not for the process, with a code of the program's own.
  siginfo_t info{};
  info.si_signo = SIGRTMIN + 4;
  info.si_code = -37;
  info.si_pid = 4321;
  info.si_uid = 77;
  info.si_value.sival_int = 4000;
  if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGRTMIN + 4, &info) != 0)
    victim::broken("rt_tgsigqueueinfo");

  kernel_action before[65];
  for (int i = 1; i <= 64; ++i) before[i] = action_of(i);
  uint64_t mask_before = 0, mask_after = 0;
  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask_before, 8);
  victim::work_until_stop();

  syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask_after, 8);
  victim::expect_equal("mask", mask_before, mask_after);
  for (int i = 1; i <= 64; ++i) {
    kernel_action after = action_of(i);
    if (memcmp(&before[i], &after, sizeof after) != 0)
      victim::lost(
          "disposition of signal %d: handler %p flags %#lx mask %#llx instead of %p %#lx %#llx", i,
          after.handler, after.flags, static_cast<unsigned long long>(after.mask),
          before[i].handler, before[i].flags, static_cast<unsigned long long>(before[i].mask));
  }
  sigset_t pending;
  sigpending(&pending);
  for (int number : {SIGRTMIN + 3, SIGRTMIN + 4, SIGUSR1})
    if (!sigismember(&pending, number)) victim::lost("signal %d is not pending", number);
  if (sigismember(&pending, SIGCHLD)) victim::lost("SIGCHLD is pending, and nobody sent it");
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  victim::expect_equal("deliveries", 8, static_cast<uint64_t>(deliveries));
  int next = 1000, thread_ones = 0, process_ones = 0, usr1 = 0;
  for (int i = 0; i < deliveries && i < 16; ++i) {
    if (order[i] == SIGRTMIN + 3) {
      victim::expect_equal("queued value", static_cast<uint64_t>(next++),
                           static_cast<uint64_t>(values_seen[i]));
      victim::expect_equal("si_code of sigqueue", static_cast<uint64_t>(SI_QUEUE),
                           static_cast<uint64_t>(codes_seen[i]));
    } else if (order[i] == SIGRTMIN + 4) {
      thread_ones += values_seen[i] == 4000 && codes_seen[i] == -37;
      process_ones += values_seen[i] == 2000 && codes_seen[i] == SI_QUEUE;
    } else {
      usr1 += order[i] == SIGUSR1 && values_seen[i] == 3000;
    }
  }
  victim::expect_equal("the thread's own pending signal", 1, static_cast<uint64_t>(thread_ones));
  victim::expect_equal("the process's pending signal", 1, static_cast<uint64_t>(process_ones));
  victim::expect_equal("SIGUSR1 with its value", 1, static_cast<uint64_t>(usr1));
  return victim::finish();
}
