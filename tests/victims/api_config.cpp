// SPDX-License-Identifier: MIT
// The configuration changes at run time: the period begins, is changed and ends, beside an alarm,
// an interval timer and a POSIX timer of the program's own; the trigger moves from signal to
// signal, and each has again what the program had there. Started with SIGUSR1 for trigger, and
// continue.
#include "ckpt.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/time.h>

#include "victim.hpp"

static char directory[3000];
static volatile int alarms, ticks, usr2;
static volatile int checkpoints;

static void on_alarm(int) {
  alarms = alarms + 1;
}
static void on_tick(int) {
  ticks = ticks + 1;
}
static void on_usr2(int) {
  usr2 = usr2 + 1;
}
static void after(void*) {
  checkpoints = checkpoints + 1;
}

static ckptconfig now() {
  ckptconfig c;
  memset(&c, 0x55, sizeof c);
  ckpt_config(nullptr, &c);
  return c;
}

static void set(int flags, const char* name, unsigned signal, unsigned continues, unsigned period) {
  ckptconfig c;
  memset(&c, 0xaa, sizeof c);
  if (name != nullptr) strcpy(c.name, name);
  c.asyncsig = signal, c.continues = continues, c.msperiod = period, c.flags = flags;
  ckpt_config(&c, nullptr);
  char text[300];
  if (ckpt_error(text, sizeof text) != 0) victim::lost("ckpt_config: %s", text);
}

static void refuse(const ckptconfig& wrong, const char* word) {
  const ckptconfig before = now();
  ckptconfig c = wrong;
  ckpt_config(&c, nullptr);
  char text[300];
  if (ckpt_error(text, sizeof text) == 0 || !strstr(text, word))
    victim::lost("the refusal does not say %s: %s", word, text);
  const ckptconfig later = now();
  if (memcmp(&before, &later, sizeof before) != 0) victim::lost("%s: something has changed", word);
}

static void wait_for(int more) {
  const int wanted = checkpoints + more;
  while (checkpoints < wanted) usleep(1000);
}

static uint64_t handler_of(int signal) {
  // glibc refuses to say it of 32 and 33 only.
  struct sigaction action;
  sigaction(signal, nullptr, &action);
  return reinterpret_cast<uint64_t>(action.sa_handler);
}

static size_t timers() {
  const std::string text = victim::slurp("/proc/self/timers");
  size_t found = 0;
  for (size_t at = text.find("ClockID:"); at != std::string::npos;
       at = text.find("ClockID:", at + 1))
    ++found;
  return found;
}

int main() {
  if (!getcwd(directory, sizeof directory)) victim::broken("getcwd");
  const std::string start = directory;
  ckpt_on_postckpt(after, nullptr);
  signal(SIGALRM, on_alarm);
  signal(SIGRTMIN, on_tick);
  signal(SIGUSR2, on_usr2);

  // All fields of what held before.
  ckptconfig c = now();
  victim::expect_equal("flags", CKPT_NAME | CKPT_ASYNCSIG | CKPT_CONTINUE | CKPT_MSPERIOD,
                       static_cast<uint64_t>(c.flags));
  victim::expect_equal("asyncsig", SIGUSR1, c.asyncsig);
  victim::expect_equal("continues", 1, c.continues);
  victim::expect_equal("msperiod", 0, c.msperiod);
  if (start + "/first.ckpt" != c.name) victim::lost("the name %s", c.name);

  // What means nothing.
  memset(&c, 0, sizeof c);
  c.flags = CKPT_NAME | CKPT_MSPERIOD, c.msperiod = 10;
  refuse(c, "0 characters");
  memset(c.name, 'x', sizeof c.name);
  refuse(c, "1024 characters");
  strcpy(c.name, "gopher://x");
  refuse(c, "has a scheme");
  c.flags = CKPT_ASYNCSIG | CKPT_MSPERIOD, c.asyncsig = SIGKILL;
  refuse(c, "signal 9");
  c.asyncsig = 65;
  refuse(c, "65");
  c.flags = 1 << 20;
  refuse(c, "flags");

  // A name of another directory's moment is still relative to the first.
  if (mkdir("elsewhere", 0755) != 0 || chdir("elsewhere") != 0) victim::broken("elsewhere");
  set(CKPT_NAME, "second.ckpt", 0, 0, 0);
  raise(SIGUSR1);
  victim::expect_equal("a checkpoint by the signal", 1, static_cast<uint64_t>(checkpoints));
  if (access("../second.ckpt", F_OK) != 0 || access("second.ckpt", F_OK) == 0)
    victim::lost("the name that ckpt_config gave");
  char third[] = "third.ckpt";
  if (ckpt_ckpt(third) != 0 || access("../third.ckpt", F_OK) != 0)
    victim::lost("the name of a call");
  if (start + "/second.ckpt" != now().name) victim::lost("the name after a call: %s", now().name);
  if (chdir("..") != 0) victim::broken("..");

  // The trigger moves.
  set(CKPT_ASYNCSIG, nullptr, SIGUSR2, 0, 0);
  const int before_move = checkpoints;
  raise(SIGUSR2);
  victim::expect_equal("a checkpoint by the new signal", 1,
                       static_cast<uint64_t>(checkpoints - before_move));
  victim::expect_equal("the program's handler", 0, static_cast<uint64_t>(usr2));
  if (handler_of(SIGUSR1) != reinterpret_cast<uint64_t>(SIG_DFL))
    victim::lost("the old signal's disposition");
  set(CKPT_ASYNCSIG, nullptr, 0, 0, 0);
  raise(SIGUSR2);
  victim::expect_equal("the program's handler again", 1, static_cast<uint64_t>(usr2));

  // The period, with no signal of its own, beside the program's timers.
  timer_t timer;
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN;
  if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0) victim::broken("timer_create");
  itimerspec every{{0, 10'000'000}, {0, 10'000'000}};
  timer_settime(timer, 0, &every, nullptr);
  itimerval often{{0, 10'000}, {0, 10'000}};
  setitimer(ITIMER_REAL, &often, nullptr);
  const uint64_t last_before = handler_of(SIGRTMAX);
  set(CKPT_MSPERIOD, nullptr, 0, 0, 40);
  victim::expect_equal("timers", 2, timers());
  if (handler_of(SIGRTMAX) == last_before) victim::lost("the period's signal");
  wait_for(3);
  set(CKPT_MSPERIOD, nullptr, 0, 0, 3'600'000);
  const int before_long = checkpoints;
  victim::expect_equal("msperiod", 3'600'000, now().msperiod);
  usleep(150'000);
  if (checkpoints > before_long + 1) victim::lost("the old period goes on");
  set(CKPT_MSPERIOD, nullptr, 0, 0, 30);
  wait_for(2);
  // The period goes with the trigger.
  set(CKPT_ASYNCSIG, nullptr, SIGUSR1, 0, 0);
  if (handler_of(SIGRTMAX) != last_before)
    victim::lost("SIGRTMAX while the trigger has the period");
  wait_for(2);
  set(CKPT_ASYNCSIG, nullptr, 0, 0, 0);
  wait_for(2);
  set(CKPT_MSPERIOD, nullptr, 0, 0, 0);
  const int at_end = checkpoints;
  victim::expect_equal("timers after the period", 1, timers());
  if (handler_of(SIGRTMAX) != last_before) victim::lost("SIGRTMAX after the period");
  const int alarms_then = alarms, ticks_then = ticks;
  const int64_t until = victim::now() + 20'000'000'000;
  while ((alarms < alarms_then + 5 || ticks < ticks_then + 5) && victim::now() < until)
    usleep(10'000);
  victim::expect_equal("checkpoints after the period", static_cast<uint64_t>(at_end),
                       static_cast<uint64_t>(checkpoints));
  if (alarms < alarms_then + 5 || ticks < ticks_then + 5) victim::lost("the program's own timers");
  return victim::finish();
}
