// SPDX-License-Identifier: MIT
// Takes the trigger's signal for itself, in the way that its second argument names, and is frozen
// afterwards: what held the signal before, it has put on another one, as programs do that pass
// signals on. At the end the signal is still as it wanted it.
#include <signal.h>

#include "victim.hpp"

static void own_handler(int) {}

int main(int count, char** values) {
  victim::begin(count, values);
  if (count < 3) victim::broken("which way?");
  std::string how = values[2];
  struct sigaction before {};
  if (sigaction(SIGTSTP, nullptr, &before) != 0 || sigaction(SIGUSR1, &before, nullptr) != 0)
    victim::broken("sigaction");
  auto wanted = how == "handled" ? own_handler : how == "ignored" ? SIG_IGN : SIG_DFL;
  sigset_t only;
  sigemptyset(&only);
  sigaddset(&only, SIGTSTP);
  if (how == "blocked")
    sigprocmask(SIG_BLOCK, &only, nullptr);
  else
    signal(SIGTSTP, wanted);
  victim::ready();
  raise(SIGUSR1);
  victim::say("taken\n");
  while (!victim::stop_requested()) victim::compute();
  struct sigaction now {};
  sigset_t mask;
  sigaction(SIGTSTP, nullptr, &now);
  sigprocmask(SIG_BLOCK, nullptr, &mask);
  if (how == "blocked") {
    if (sigismember(&mask, SIGTSTP) != 1) victim::lost("SIGTSTP is not blocked any more");
    if (now.sa_handler != before.sa_handler) victim::lost("SIGTSTP has another handler");
  } else if (now.sa_handler != wanted) {
    victim::lost("SIGTSTP is not as it was set");
  }
  return victim::finish();
}
