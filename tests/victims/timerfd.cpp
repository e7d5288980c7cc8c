// SPDX-License-Identifier: MIT
// Timers of timerfd_create(2): what remains, the interval, expirations that have not been read. A
// timer that was set to a time of day goes off at it; all others stand still meanwhile.
//
// Fidelity: descriptors | timerfd: clock, what remains, interval, expirations not yet read | kept; stands still between checkpoint and restart, except one set to a time of day
#include <fcntl.h>
#include <sys/timerfd.h>

#include "victim.hpp"

namespace {

int made(int clock, int flags, itimerspec value, int create_flags = TFD_NONBLOCK) {
  const int fd = timerfd_create(clock, create_flags);
  if (fd < 0 || timerfd_settime(fd, flags, &value, nullptr) != 0) victim::broken("timerfd");
  return fd;
}
uint64_t ticks_of(int fd) {
  uint64_t value = 0;
  return read(fd, &value, sizeof value) == sizeof value ? value : 0;
}
std::string line_of(int fd, const char* key) {
  const std::string text = victim::slurp(("/proc/self/fdinfo/" + std::to_string(fd)).c_str());
  const auto at = text.find(key);
  return at == std::string::npos ? "" : text.substr(at, text.find('\n', at) - at);
}
timespec in_future(int clock, time_t seconds) {
  timespec now{};
  clock_gettime(clock, &now);
  now.tv_sec += seconds;
  return now;
}

}  // namespace

int main(int count, char** values) {
  victim::begin(count, values);
  constexpr time_t long_time = 4000;
  const int stopped = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
  const int later = made(CLOCK_MONOTONIC, 0, {{0, 0}, {long_time, 5}});
  const int periodic = made(CLOCK_BOOTTIME, 0, {{long_time, 7}, {0, 1}});
  const int often = made(CLOCK_MONOTONIC, 0, {{0, 1'000'000}, {0, 1'000'000}});
  const int once = made(CLOCK_REALTIME, 0, {{0, 0}, {0, 1}});
  const timespec noon = in_future(CLOCK_REALTIME, long_time);
  const int day = made(CLOCK_REALTIME, TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, {{0, 0}, noon});
  const int deadline =
      made(CLOCK_MONOTONIC, TFD_TIMER_ABSTIME, {{3, 0}, in_future(CLOCK_MONOTONIC, long_time)});
  usleep(20'000);
  const int64_t began = victim::now();
  victim::work_until_stop();

  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(stopped, F_GETFD));
  victim::expect_equal("O_NONBLOCK", O_NONBLOCK, fcntl(later, F_GETFL) & O_NONBLOCK);
  itimerspec now{};
  const auto near = [&](const char* what, int fd, int64_t wanted) {
    timerfd_gettime(fd, &now);
    const int64_t seconds = now.it_value.tv_sec;
    if (seconds > wanted || seconds < wanted - 120)
      victim::lost("%s: %lld s remain instead of at most %lld", what,
                   static_cast<long long>(seconds), static_cast<long long>(wanted));
  };
  timerfd_gettime(stopped, &now);
  victim::expect_equal("the stopped one", 0, static_cast<uint64_t>(now.it_value.tv_sec));
  near("the one far off", later, long_time);
  near("the deadline", deadline, long_time);
  victim::expect_equal("its interval", 3, static_cast<uint64_t>(now.it_interval.tv_sec));
  near("the periodic one", periodic, long_time);
  victim::expect_equal("its interval", long_time, static_cast<uint64_t>(now.it_interval.tv_sec));
  victim::expect_equal("its interval, ns", 7, static_cast<uint64_t>(now.it_interval.tv_nsec));
  victim::expect_equal("expirations of the periodic one", 1, ticks_of(periodic));
  victim::expect_equal("expirations of the one that is over", 1, ticks_of(once));
  const auto passed = static_cast<uint64_t>((victim::now() - began) / 1'000'000);
  const uint64_t ticks = ticks_of(often);
  if (ticks < 15 || ticks > passed + 60)
    victim::lost("the frequent one: %llu expirations in %llu ms",
                 static_cast<unsigned long long>(ticks), static_cast<unsigned long long>(passed));
  if (ticks_of(later) != 0) victim::lost("the one far off has expired");
  timerfd_gettime(day, &now);
  timespec time{};
  clock_gettime(CLOCK_REALTIME, &time);
  const int64_t off = (time.tv_sec + now.it_value.tv_sec - noon.tv_sec) * 1'000 +
                      (time.tv_nsec + now.it_value.tv_nsec - noon.tv_nsec) / 1'000'000;
  if (off < -5 || off > 50)
    victim::lost("the time of day moved by %lld ms", static_cast<long long>(off));
  if (line_of(day, "settime flags") != "settime flags: 03")
    victim::lost("no longer cancelled with the clock: %s", line_of(day, "settime flags").c_str());
  if (line_of(periodic, "clockid") != "clockid: 7")
    victim::lost("another clock: %s", line_of(periodic, "clockid").c_str());
  return victim::finish();
}
