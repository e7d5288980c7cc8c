// SPDX-License-Identifier: MIT
// Signals and timers in a program with threads: pending for the process while all block them, taken
// by a thread that waits for them, and from timers of every kind, one per thread among them.
//
// Fidelity: signals | pending for a process with threads that all block them, with values and order | kept
// Fidelity: timers | of a program with threads: SIGEV_THREAD_ID, SIGEV_THREAD, processor time of another thread, interval timers | kept
#include <sys/time.h>

#include "threads.hpp"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace {

using victim::lost;

constexpr int threads = 4;
std::atomic<uint64_t> ticks[threads], of_callback{0}, of_processor{0}, alarms{0}, profiled{0};
thread_local int own_number = -1;
std::atomic<int> wrong{0};

void on_tick(int, siginfo_t* info, void*) {
  // A timer of a thread interrupts that thread and no other.
  if (info->si_code == SI_TIMER && info->si_value.sival_int == own_number && own_number >= 0)
    ++ticks[own_number];
  else
    ++wrong;
}

timer_t make_timer(clockid_t clock, sigevent event, long period) {
  timer_t timer;
  if (timer_create(clock, &event, &timer) != 0) victim::broken("timer_create");
  const itimerspec time{{0, period}, {0, period}};
  if (timer_settime(timer, 0, &time, nullptr) != 0) victim::broken("timer_settime");
  return timer;
}

void expect_more(const char* what, const std::atomic<uint64_t>& counter) {
  const uint64_t before = counter;
  for (int tries = 0; counter < before + 3 && tries < 5000; ++tries) usleep(1000);
  if (counter < before + 3) lost("%s: no more of them", what);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  // Blocked by all, before there is more than one.
  victim::block(SIG_BLOCK, {SIGUSR1, SIGUSR2, SIGRTMIN + 3, SIGRTMIN + 4, SIGRTMIN + 5});
  struct sigaction action {};
  action.sa_sigaction = on_tick;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGRTMIN + 6, &action, nullptr);
  action.sa_sigaction = [](int, siginfo_t*, void*) { ++of_processor; };
  sigaction(SIGRTMIN + 7, &action, nullptr);
  action.sa_sigaction = [](int, siginfo_t*, void*) { ++alarms; };
  sigaction(SIGALRM, &action, nullptr);
  action.sa_sigaction = [](int, siginfo_t*, void*) { ++profiled; };
  sigaction(SIGPROF, &action, nullptr);

  pthread_t running[threads];
  for (int i = 0; i < threads; ++i)
    running[i] = victim::start([i] {
      own_number = i;
      sigevent event{};
      event.sigev_notify = SIGEV_THREAD_ID;
      event.sigev_notify_thread_id = gettid();
      event.sigev_signo = SIGRTMIN + 6;
      event.sigev_value.sival_int = i;
      const timer_t timer = make_timer(CLOCK_MONOTONIC, event, 2'000'000 + 500'000 * i);
      victim::arrive();
      if (i == 0) {
        static volatile uint64_t sink;
        while (victim::stopping == 0) sink = sink + 1;
      }
      victim::wait_for_stop();
      if (timer_delete(timer) != 0) lost("timer_delete: %s", strerror(errno));
      usleep(1000);
    });
  // One that does nothing but wait for signals to the process, and one that waits for its own.
  const pthread_t waiter = victim::start([] {
    victim::arrive();
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int number = 0;
    int error = sigwait(&set, &number);
    if (error != 0 || number != SIGUSR1) lost("sigwait: %s, signal %d", strerror(error), number);
    if (victim::stopping == 0) lost("sigwait ended before anybody sent anything");
  });
  victim::gather(threads + 1);

  sigevent callback{};
  callback.sigev_notify = SIGEV_THREAD;
  callback.sigev_value.sival_int = 99;
  callback.sigev_notify_function = [](sigval value) {
    value.sival_int == 99 ? ++of_callback : ++wrong;
  };
  const timer_t called = make_timer(CLOCK_REALTIME, callback, 5'000'000);
  clockid_t clock;
  victim::must(pthread_getcpuclockid(running[0], &clock), "pthread_getcpuclockid");
  sigevent of_other{};
  of_other.sigev_notify = SIGEV_SIGNAL;
  of_other.sigev_signo = SIGRTMIN + 7;
  const timer_t spent = make_timer(clock, of_other, 4'000'000);
  itimerval interval{{0, 7000}, {0, 7000}};
  setitimer(ITIMER_REAL, &interval, nullptr);
  setitimer(ITIMER_PROF, &interval, nullptr);

  // For the process, and one for this thread only, of the same number.
  for (int i = 0; i < 3; ++i) sigqueue(getpid(), SIGRTMIN + 3, sigval{.sival_int = 500 + i});
  sigqueue(getpid(), SIGRTMIN + 4, sigval{.sival_int = 600});
  pthread_sigqueue(pthread_self(), SIGRTMIN + 4, sigval{.sival_int = 601});
  kill(getpid(), SIGUSR2);
  sigset_t pending;
  victim::ready();
  while (!victim::stop_requested()) usleep(1000);  // its own alarms interrupt it

  sigpending(&pending);
  for (int number : {SIGUSR2, SIGRTMIN + 3, SIGRTMIN + 4})
    if (!sigismember(&pending, number)) lost("signal %d is not pending", number);
  for (auto& each : ticks) expect_more("ticks of a thread", each);
  expect_more("callbacks", of_callback);
  expect_more("ticks of a thread's processor time", of_processor);
  expect_more("alarms", alarms);
  expect_more("ticks of ITIMER_PROF", profiled);
  interval = {};
  setitimer(ITIMER_REAL, &interval, nullptr);
  setitimer(ITIMER_PROF, &interval, nullptr);
  if (timer_delete(called) != 0 || timer_delete(spent) != 0) lost("timer_delete");
  victim::tell_all();
  kill(getpid(), SIGUSR1);
  victim::join_well(waiter, "sigwait");

  // Another thread takes what is for the process, in order; what is for this one it cannot see.
  victim::join_well(
      victim::start([] {
        const timespec none{};
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN + 3);
        siginfo_t info{};
        for (int i = 0; i < 3; ++i)
          if (sigtimedwait(&set, &info, &none) != SIGRTMIN + 3 ||
              info.si_value.sival_int != 500 + i || info.si_code != SI_QUEUE ||
              info.si_pid != getpid())
            lost("pending for the process, %d: code %d, value %d, from %d", i, info.si_code,
                 info.si_value.sival_int, info.si_pid);
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN + 4);
        if (sigtimedwait(&set, &info, &none) != SIGRTMIN + 4 || info.si_value.sival_int != 600)
          lost("pending for the process: %d", info.si_value.sival_int);
        if (sigtimedwait(&set, &info, &none) != -1)
          lost("a signal for one thread has become one for all");
      }),
      "a taker of signals");
  const timespec none{};
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 4);
  siginfo_t info{};
  if (sigtimedwait(&set, &info, &none) != SIGRTMIN + 4 || info.si_value.sival_int != 601)
    lost("pending for this thread: %d", info.si_value.sival_int);
  for (pthread_t thread : running) victim::join_well(thread, "a thread");
  victim::expect_equal("ticks that came to the wrong place", 0,
                       static_cast<uint64_t>(wrong.load()));
  return victim::finish();
}
