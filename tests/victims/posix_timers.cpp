// SPDX-License-Identifier: MIT
// Timers of timer_create: ids with gaps, every kind of notification, what remains, intervals,
// overruns of the last signal and expirations that wait behind a blocked one.
//
// Fidelity: timers | timer_create: ids, clocks, notification, value, what remains, interval | kept
// Fidelity: timers | overrun of the last signal (timer_getoverrun) | kept
// Fidelity: timers | expirations behind a signal that waits | kept
// Fidelity: timers | overrun of the last signal while the next one waits; overruns of clocks of processor time or longer than this machine is up | lost, the last with a line
// Fidelity: timers | a timer with an absolute time (TIMER_ABSTIME) | kept with loss: due after the time that remained
#include <signal.h>
#include <sys/syscall.h>

#include <atomic>
#include <vector>

#include "victim.hpp"

namespace {

struct kernel_event {
  uint64_t value;
  int signal, notify, thread;
  int rest[11];
};
static_assert(sizeof(kernel_event) == 64);

int create(clockid_t clock, int notify, int signal, uint64_t value) {
  kernel_event event{};
  event.value = value;
  event.signal = signal;
  event.notify = notify;
  event.thread = notify == SIGEV_THREAD_ID ? static_cast<int>(syscall(SYS_gettid)) : 0;
  int id = -1;
  if (syscall(SYS_timer_create, clock, &event, &id) != 0) victim::broken("timer_create");
  return id;
}
void set(int id, int64_t due, int64_t interval) {
  const itimerspec time{{interval / 1'000'000'000, interval % 1'000'000'000},
                        {due / 1'000'000'000, due % 1'000'000'000}};
  if (syscall(SYS_timer_settime, id, 0, &time, nullptr) != 0) victim::broken("timer_settime");
}
int64_t nanoseconds(const timespec& t) {
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}
itimerspec get(int id) {
  itimerspec time{};
  if (syscall(SYS_timer_gettime, id, &time) != 0) victim::lost("timer %d: %s", id, strerror(errno));
  return time;
}

void rest(int64_t duration) {
  const int64_t end = victim::now() + duration;
  while (victim::now() < end) usleep(1000);
}

std::atomic<uint64_t> ticks;
void on_tick(int, siginfo_t* info, void*) {
  if (info->si_code == SI_TIMER &&
      info->si_value.sival_ptr == reinterpret_cast<void*>(0x1122334455667788))
    ++ticks;
  else
    victim::lost("a tick with code %d, value %p", info->si_code, info->si_value.sival_ptr);
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  // Signals that wait: one of a timer between two of sigqueue, all of one number.
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGRTMIN + 1);
  sigaddset(&blocked, SIGRTMIN + 2);
  sigaddset(&blocked, SIGUSR1);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_tick;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigaction(SIGRTMIN, &action, nullptr);

  std::vector<int> ids;
  for (int i = 0; i < 12; ++i) ids.push_back(create(CLOCK_MONOTONIC, SIGEV_NONE, 0, 0));
  for (int i : {0, 1, 4, 7, 8, 10}) syscall(SYS_timer_delete, ids[static_cast<size_t>(i)]);
  // ids[2]: stopped. ids[3]: far away. ids[5]: none, periodic, on the boot clock.
  set(ids[3], 5000ll * 1'000'000'000, 7'000'000'123);
  const int boot = create(CLOCK_BOOTTIME, SIGEV_NONE, 0, 0);
  set(boot, 3000ll * 1'000'000'000, 0);
  const int real = create(CLOCK_REALTIME, SIGEV_THREAD_ID, SIGUSR2, 42);
  set(real, 4000ll * 1'000'000'000, 0);
  const int busy = create(CLOCK_PROCESS_CPUTIME_ID, SIGEV_SIGNAL, SIGUSR2, 43);
  set(busy, 2000ll * 1'000'000'000, 0);
  const int ticking = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN, 0x1122334455667788);
  set(ticking, 1'000'000, 3'000'000);
  // An overrun that has been delivered.
  const int late = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGUSR1, 9);
  // Every hundred seconds, begun four minutes ago if this machine is old enough.
  timespec past{};
  clock_gettime(CLOCK_MONOTONIC, &past);
  const long had = past.tv_sec > 300 ? 2 : 0;
  past.tv_sec = had != 0 ? past.tv_sec - 250 : past.tv_sec;
  const itimerspec since{{100, 0}, past};
  if (syscall(SYS_timer_settime, late, TIMER_ABSTIME, &since, nullptr) != 0)
    victim::broken("timer_settime");
  rest(5'000'000);
  siginfo_t info{};
  sigset_t user;
  sigemptyset(&user);
  sigaddset(&user, SIGUSR1);
  while (sigwaitinfo(&user, &info) != SIGUSR1)
    if (errno != EINTR) victim::broken("sigwaitinfo");
  const long overrun = syscall(SYS_timer_getoverrun, late);
  if (overrun != had || overrun != info.si_overrun) victim::broken("an overrun");
  // Expirations behind a blocked signal; a one-shot whose signal waits.
  sigqueue(getpid(), SIGRTMIN + 1, sigval{.sival_int = 1});
  const int waiting = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 1, 0x77);
  const int64_t started = victim::now();
  constexpr int64_t step = 2'000'000;
  set(waiting, step, step);
  const int once = create(CLOCK_MONOTONIC, SIGEV_SIGNAL, SIGRTMIN + 2, 0x88);
  set(once, 1, 0);
  rest(45'000'000);
  sigqueue(getpid(), SIGRTMIN + 1, sigval{.sival_int = 2});
  const std::string before = victim::slurp("/proc/self/timers");

  victim::work_until_stop();

  // Process and thread numbers may be others; the rest of the file may not.
  auto without_numbers = [](std::string text) {
    for (const char* each : {"pid.", "tid."})
      for (size_t at = 0; (at = text.find(each, at)) != std::string::npos; at += 4)
        text.erase(at + 4, text.find('\n', at) - at - 4);
    return text;
  };
  const std::string after = victim::slurp("/proc/self/timers");
  if (without_numbers(after) != without_numbers(before))
    victim::lost("/proc/self/timers:\n%s", after.c_str());
  victim::expect_equal("the overrun of the last signal", static_cast<uint64_t>(overrun),
                       static_cast<uint64_t>(syscall(SYS_timer_getoverrun, late)));
  const itimerspec period = get(late);
  victim::expect_equal("its interval", 100'000'000'000,
                       static_cast<uint64_t>(nanoseconds(period.it_interval)));
  victim::expect_equal("a stopped timer", 0,
                       static_cast<uint64_t>(nanoseconds(get(ids[2]).it_value)));
  victim::expect_equal("an interval", 7'000'000'123,
                       static_cast<uint64_t>(nanoseconds(get(ids[3]).it_interval)));
  const struct {
    const char* name;
    int id;
    int64_t least, most;
  } remaining[] = {{"far", ids[3], 4900, 5000},
                   {"boot", boot, 2900, 3000},
                   {"real", real, 3900, 4000},
                   {"processor", busy, 1900, 2000}};
  for (const auto& r : remaining) {
    const int64_t left = nanoseconds(get(r.id).it_value) / 1'000'000'000;
    if (left < r.least || left > r.most)
      victim::lost("%s timer: %lld s remain", r.name, static_cast<long long>(left));
  }
  const uint64_t ticks_now = ticks;
  const int64_t tick_limit = victim::now() + 2'000'000'000;
  while (ticks < ticks_now + 3 && victim::now() < tick_limit) victim::compute();
  if (ticks < ticks_now + 3) victim::lost("the ticking timer stands still");

  sigset_t ticks_blocked;
  sigemptyset(&ticks_blocked);
  sigaddset(&ticks_blocked, SIGRTMIN);
  sigprocmask(SIG_BLOCK, &ticks_blocked, nullptr);
  // In their order, the timer's with every expiration since it was started but the first.
  for (int i = 1; i <= 3; ++i) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 1);
    const timespec soon{1, 0};
    if (sigtimedwait(&set, &info, &soon) != SIGRTMIN + 1) {
      victim::lost("signal %d of the queue", i);
      continue;
    }
    if (i == 2) {
      victim::expect_equal("its code", static_cast<uint64_t>(SI_TIMER),
                           static_cast<uint64_t>(info.si_code));
      victim::expect_equal("its value", 0x77, reinterpret_cast<uint64_t>(info.si_value.sival_ptr));
      const int64_t possible = (victim::now() - started) / step - 1;
      if (info.si_overrun < 19 || info.si_overrun > possible)
        victim::lost("%d expirations behind the signal that waited, of at most %lld",
                     info.si_overrun, static_cast<long long>(possible));
      victim::expect_equal("timer_getoverrun", static_cast<uint64_t>(info.si_overrun),
                           static_cast<uint64_t>(syscall(SYS_timer_getoverrun, waiting)));
    } else {
      victim::expect_equal("a queued value", i == 1 ? 1 : 2,
                           static_cast<uint64_t>(info.si_value.sival_int));
    }
  }
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGRTMIN + 2);
  const timespec soon{1, 0};
  if (sigtimedwait(&set, &info, &soon) != SIGRTMIN + 2 || info.si_code != SI_TIMER ||
      info.si_value.sival_ptr != reinterpret_cast<void*>(0x88))
    victim::lost("the signal of the one-shot timer");
  const timespec moment{0, 20'000'000};
  if (sigtimedwait(&set, &info, &moment) != -1) victim::lost("the one-shot timer has fired twice");
  return victim::finish();
}
