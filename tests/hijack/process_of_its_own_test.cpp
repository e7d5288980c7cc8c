// SPDX-License-Identifier: MIT
//
// Work in a process made for it: what comes back, who does it, what a death leaves.
#include "process_of_its_own.hpp"

#include <sys/mman.h>

#include "support/catch.hpp"

namespace ckpt::hijack {
namespace {

/// Seen by the process that works as well.
struct shared_words {
  pid_t process = 0, session = 0;
  u64 blocked = 0;
  int calls = 0;
};
struct shared_memory {
  shared_memory()
      : words(new (mmap(nullptr, sizeof(shared_words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                        -1, 0)) shared_words) {}
  shared_memory(const shared_memory&) = delete;
  shared_memory& operator=(const shared_memory&) = delete;
  ~shared_memory() { munmap(words, sizeof *words); }
  shared_words* words;
};

TEST_CASE("another process works, in a session of its own and with every signal blocked") {
  shared_memory seen;
  int answer = 3;
  report why;
  const auto done = in_process_of_its_own(
      [&](int& there, report&) -> result<void> {
        sigset_t now;
        sigprocmask(SIG_SETMASK, nullptr, &now);
        *seen.words = {getpid(), getsid(0), sigismember(&now, SIGTERM) == 1 ? u64{1} : 0, 1};
        there += 4;
        return {};
      },
      answer, why);
  CHECK(done.ok());
  CHECK(answer == 7);
  CHECK(seen.words->process != getpid());
  CHECK(seen.words->session == seen.words->process);
  CHECK(seen.words->blocked == 1);
  sigset_t now;
  sigprocmask(SIG_SETMASK, nullptr, &now);
  CHECK(sigismember(&now, SIGTERM) == 0);
}

TEST_CASE("of work that fails only the reason comes back") {
  int answer = 3;
  report why;
  const auto done = in_process_of_its_own(
      [](int& there, report& said) -> result<void> {
        there = 5;
        return said.refuse("it is so");
      },
      answer, why);
  CHECK(done.error() == errc::refused);
  CHECK(why.line() == "it is so");
  CHECK(answer == 3);
}

TEST_CASE("a process that is killed at its work leaves nothing but the fact") {
  int answer = 3;
  report why;
  const auto done = in_process_of_its_own(
      [](int& there, report&) -> result<void> {
        there = 5;
        (void)raise(SIGKILL);
        return {};
      },
      answer, why);
  CHECK(done.error() == errc::gone);
  CHECK(answer == 3);
  CHECK(waitpid(-1, nullptr, WNOHANG) == -1);
}

TEST_CASE("what only an ancestor may do is done here, from the beginning") {
  shared_memory seen;
  int answer = 3;
  report why;
  const pid_t self = getpid();
  const auto done = in_process_of_its_own(
      [&](int& there, report&) -> result<void> {
        ++seen.words->calls;
        there += 4;
        if (getpid() != self) return static_cast<errc>(EPERM);
        return {};
      },
      answer, why);
  CHECK(done.ok());
  CHECK(seen.words->calls == 2);
  CHECK(answer == 7);
}

}  // namespace
}  // namespace ckpt::hijack
