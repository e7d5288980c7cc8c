// SPDX-License-Identifier: MIT
// A signalfd(2): its mask, its flags, and that a signal which was pending is read from it.
//
// Fidelity: descriptors | signalfd: mask and flags | kept
#include <fcntl.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "victim.hpp"

int main(int count, char** values) {
  victim::begin(count, values);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGUSR1);
  sigaddset(&mask, SIGRTMIN + 3);
  if (sigprocmask(SIG_BLOCK, &mask, nullptr) != 0) victim::broken("sigprocmask");
  const int fd = signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) victim::broken("signalfd");
  sigval value{};
  value.sival_int = 4711;
  if (sigqueue(getpid(), SIGRTMIN + 3, value) != 0) victim::broken("sigqueue");
  victim::work_until_stop();

  victim::expect_equal("close-on-exec", FD_CLOEXEC, fcntl(fd, F_GETFD));
  signalfd_siginfo info{};
  if (read(fd, &info, sizeof info) != sizeof info) victim::lost("the pending signal");
  victim::expect_equal("its number", static_cast<uint64_t>(SIGRTMIN + 3), info.ssi_signo);
  victim::expect_equal("its value", 4711, static_cast<uint64_t>(info.ssi_int));
  if (read(fd, &info, sizeof info) != -1 || errno != EAGAIN) victim::lost("O_NONBLOCK");
  raise(SIGUSR1);
  if (read(fd, &info, sizeof info) != sizeof info || info.ssi_signo != SIGUSR1)
    victim::lost("SIGUSR1 is no longer in the mask");
  const std::string text = victim::slurp(("/proc/self/fdinfo/" + std::to_string(fd)).c_str());
  if (text.find("sigmask:\t0000001000000200") == std::string::npos)
    victim::lost("the mask: %s", text.c_str());
  return victim::finish();
}
