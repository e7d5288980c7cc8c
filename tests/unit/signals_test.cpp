// SPDX-License-Identifier: MIT
//
// Dispositions and queues, out of one process and into another that knew nothing of them.
#include "ckpt/state/signals.hpp"

#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <map>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

void handler(int, siginfo_t*, void*) {}

std::map<u32, signal_action> captured() {
  test::vector_memory memory;
  format::metadata_builder out(memory.source());
  test::must(capture_actions(out));
  std::map<u32, signal_action> actions;
  for (format::record_cursor cursor(out.view()); !cursor.done();) {
    const auto a = *wire::decode<signal_action>(cursor.next()->fixed);
    actions[a.signal] = a;
  }
  return actions;
}

void install(int signal, bool ignore) {
  struct ::sigaction action {};
  if (ignore) {
    action.sa_handler = SIG_IGN;
  } else {
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | SA_RESTART;
    sigaddset(&action.sa_mask, SIGALRM);
  }
  ::sigaction(signal, &action, nullptr);
}

TEST_CASE("a process that has reset its signals has nothing to capture") {
  CHECK(test::in_child([] {
          install(SIGUSR1, false);
          install(SIGHUP, true);
          reset_actions();
          return static_cast<int>(captured().size());
        }) == 0);
}

TEST_CASE("a handler is captured with flags, mask and restorer, and comes back") {
  CHECK(test::in_child([] {
          reset_actions();
          install(SIGUSR1, false);
          install(SIGHUP, true);
          const auto saved = captured();
          if (saved.size() != 2 || saved.count(SIGUSR1) == 0 || saved.count(SIGHUP) == 0) return 1;
          const auto& a = saved.at(SIGUSR1);
          if (a.handler != reinterpret_cast<u64>(&handler)) return 2;
          if (a.mask != u64{1} << (SIGALRM - 1)) return 3;
          if ((a.flags & SA_RESTART) == 0 || a.restorer == 0) return 4;
          if (saved.at(SIGHUP).handler != sys::abi::sig_ign) return 5;

          reset_actions();
          for (const auto& [signal, action] : saved)
            if (!restore_action(action).ok()) return 6;
          struct ::sigaction now {};
          ::sigaction(SIGUSR1, nullptr, &now);
          if (now.sa_sigaction != handler || (now.sa_flags & SA_RESTART) == 0) return 7;
          if (sigismember(&now.sa_mask, SIGALRM) != 1) return 8;
          return ::raise(SIGUSR1) == 0 ? 0 : 9;
        }) == 0);
}

TEST_CASE("pending signals keep their order, their code and their value") {
  CHECK(test::in_child([] {
          sigset_t all;
          sigfillset(&all);
          ::sigprocmask(SIG_BLOCK, &all, nullptr);
          const int signal = SIGRTMIN + 1;
          for (int value : {11, 22}) {
            pending_signal p{};
            p.signal = signal;
            siginfo_t info{};
            info.si_signo = signal;
            info.si_code = SI_TIMER;  // only to itself may a process say so
            info.si_value.sival_int = value;
            std::memcpy(p.info.bytes.data(), &info, sizeof info);
            if (!restore_pending(p, ::getpid(), 0).ok()) return 1;
          }
          pending_signal own{};
          own.signal = SIGUSR2;
          own.thread = 12345;  // the old number; the caller gives the new one
          siginfo_t info{};
          info.si_signo = SIGUSR2;
          info.si_code = SI_QUEUE;
          std::memcpy(own.info.bytes.data(), &info, sizeof info);
          if (!restore_pending(own, ::getpid(), ::gettid()).ok()) return 2;

          for (int value : {11, 22}) {
            sigset_t one;
            sigemptyset(&one);
            sigaddset(&one, signal);
            siginfo_t got{};
            const ::timespec none{};
            if (::sigtimedwait(&one, &got, &none) != signal) return 3;
            if (got.si_value.sival_int != value || got.si_code != SI_TIMER) return 4;
          }
          sigset_t pending;
          ::sigpending(&pending);
          return sigismember(&pending, SIGUSR2) == 1 ? 0 : 5;
        }) == 0);
}

TEST_CASE("two signals cannot be caught") {
  CHECK_FALSE(can_be_caught(SIGKILL));
  CHECK_FALSE(can_be_caught(SIGSTOP));
  CHECK(can_be_caught(SIGTSTP));
}

}  // namespace
}  // namespace ckpt::state
