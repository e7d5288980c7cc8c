// SPDX-License-Identifier: MIT
// Calls that nothing ends but an alarm of the program's own. They end for it and for nothing else;
// and when the alarm comes during a checkpoint, it ends the call all the same. A program that waits
// so would otherwise wait for ever; this one has a second alarm, to count that.
#include <linux/futex.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include "sleeping.hpp"

static volatile sig_atomic_t alarms;
// Whether the first of an iteration came just in front of a call; one that comes before that is the
// race that such programs have.
static volatile sig_atomic_t first, in_front;
static uint32_t word = 1;
static int64_t busy;  // nanoseconds that the handler takes
static sigset_t outside, inside;

static bool interrupted(long result) {
  return result == -1 && errno == EINTR;
}

struct alarmed_call {
  const char* name;
  bool masked;  // the alarm is let in only while the call waits; anything may end the call
  bool (*call)();
};
static const alarmed_call calls[] = {
    {"pause", false, [] { return interrupted(pause()); }},
    {"read", false,
     [] {
       char byte;
       return interrupted(read(0, &byte, 1));
     }},
    {"poll", false,
     [] {
       pollfd fd{0, POLLIN, 0};
       return interrupted(poll(&fd, 1, -1));
     }},
    {"futex", false,
     [] {
       return interrupted(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, nullptr, nullptr, 0));
     }},
    {"nanosleep", false,
     [] {
       timespec time{1000, 0};
       return interrupted(nanosleep(&time, nullptr));
     }},
    {"sigwaitinfo", true,
     [] {
       sigset_t set;
       sigemptyset(&set);
       sigaddset(&set, SIGALRM);
       siginfo_t info{};
       if (sigwaitinfo(&set, &info) != SIGALRM) return false;
       alarms = alarms + 1;
       return true;
     }},
    {"sigsuspend", true, [] { return interrupted(sigsuspend(&inside)); }},
    {"ppoll", true,
     [] {
       pollfd fd{0, POLLIN, 0};
       return interrupted(ppoll(&fd, 1, nullptr, &inside));
     }},
    {"sigsuspend_busy", true,
     [] {
       busy = 15'000'000;
       return interrupted(sigsuspend(&inside));
     }},
};

int main(int count, char** values) {
  victim::begin(count, values);
  const auto& chosen = victim::chosen(count, values, calls);
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO;
  action.sa_sigaction = [](int, siginfo_t*, void* context) {
    alarms = alarms + 1;
    const auto* code = reinterpret_cast<const unsigned char*>(
        static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
    if (alarms == first) in_front = code[0] == 0x0f && code[1] == 0x05;
    for (int64_t end = victim::now() + busy; busy != 0 && victim::now() < end;) {
    }
  };
  // Only the busy handler holds other signals back, the trigger among them.
  const bool fills = strcmp(chosen.name, "sigsuspend_busy") == 0;
  if (fills) sigfillset(&action.sa_mask);
  sigaction(SIGALRM, &action, nullptr);
  sigemptyset(&outside);
  if (chosen.masked) sigaddset(&outside, SIGALRM);
  sigprocmask(SIG_SETMASK, &outside, nullptr);
  sigemptyset(&inside);
  // So that a checkpoint takes about as long.
  static unsigned char ballast[12 << 20];
  victim::fill(ballast, sizeof ballast, 1);
  victim::ready();
  int missed = 0;
  while (!victim::stop_requested()) {
    const int before = alarms;
    first = before + 1;
    in_front = 0;
    itimerval soon{{0, 200'000}, {0, 9'000}};
    setitimer(ITIMER_REAL, &soon, nullptr);
    do {
      errno = 0;
      if (!chosen.call()) victim::lost("%s: errno %d", chosen.name, errno);
    } while (fills && alarms == before);
    if (alarms == before) victim::lost("%s came back without the alarm", chosen.name);
    if (alarms > before + 1 && in_front) ++missed;
  }
  victim::expect_filled("the ballast", ballast, sizeof ballast, 1);
  // Once may be chance.
  if (missed > (chosen.masked ? 0 : 1))
    victim::lost("%s slept through %d alarms", chosen.name, missed);
  return victim::finish();
}
