// SPDX-License-Identifier: MIT
//
// Work on another program in a process made for it. No signal to this one and not its death disturbs
// it, and what it holds and cannot let go, the kernel lets go at its end. Where only ancestors of that
// program may hold it (Yama), the work is done in a thread of ours, whose end does the same.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <new>
#include <thread>
#include <type_traits>

#include "ckpt/base/text.hpp"

namespace ckpt::hijack {

/// work(answer, why) -> result<void>, begun with `answer` as it is here. `answer` is what the work has
/// made of it when that has succeeded, and otherwise stays. errc::gone when the process was killed.
template <class Answer, class Work>
result<void> in_process_of_its_own(const Work& work, Answer& answer, report& why) {
  static_assert(std::is_trivially_copyable_v<Answer>);
  struct told {
    result<void> outcome = errc::gone;
    report why;
    Answer answer;
  };
  void* room = mmap(nullptr, sizeof(told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (room == MAP_FAILED) return static_cast<errc>(errno);
  auto* shared = new (room) told{.why = {}, .answer = answer};
  sigset_t all, before;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, &before);
  const pid_t child = fork();
  const int failed = errno;
  if (child == 0) {
    (void)setsid();  // what is signalled to our group is not meant for it
    shared->outcome = work(shared->answer, shared->why);
    _exit(0);
  }
  while (child > 0 && waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  sigprocmask(SIG_SETMASK, &before, nullptr);
  if (child < 0) shared->outcome = static_cast<errc>(failed);
  if (shared->outcome.error() == static_cast<errc>(EPERM))
    std::thread([&] {
      shared->answer = answer;
      shared->outcome = work(shared->answer, shared->why);
    }).join();
  const auto outcome = shared->outcome;
  if (outcome.ok()) answer = shared->answer;
  if (outcome.error() == errc::refused) (void)why.refuse(shared->why.line());
  munmap(room, sizeof(told));
  return outcome;
}

}  // namespace ckpt::hijack
