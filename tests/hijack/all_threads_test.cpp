// SPDX-License-Identifier: MIT
//
// All threads of a program stand still at once, also those that are born meanwhile, and go on.
#include "all_threads.hpp"

#include <sys/mman.h>
#include <sys/time.h>

#include <atomic>
#include <thread>

#include "support/catch.hpp"
#include "support/held_child.hpp"

namespace ckpt::hijack {
namespace {

struct shared_words {
  std::atomic<u64> turns{0};
};

shared_words* shared() {
  return new (mmap(nullptr, sizeof(shared_words), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
      shared_words;
}

TEST_CASE("nobody runs while they are held, and all do afterwards") {
  auto* seen = shared();
  test::held_child child([seen] {
    for (int i = 0; i < 20; ++i)
      std::thread([seen] {
        for (;;) {
          ++seen->turns;
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
      }).detach();
    for (;;) std::thread([seen] { ++seen->turns; }).join();  // threads that come and go
    return 0;
  });
  {
    all_threads threads(child.pid());
    report why;
    REQUIRE(threads.hold(why).ok());
    const auto tasks = numbers_in(proc(child.pid(), "task"));
    CHECK(tasks.size() >= 21);
    for (const pid_t tid : tasks) CHECK(state_of(proc(child.pid(), "task/" + std::to_string(tid))).letter == 't');
    const u64 before = seen->turns;
    usleep(20'000);
    CHECK(seen->turns == before);
    CHECK(threads.suitable().value_or(0) == child.pid());
    CHECK(threads.any_in({0, ~u64{0}}));
    CHECK(!threads.any_in({0, page_size}));
  }
  const u64 before = seen->turns;
  for (int tries = 0; tries < 10'000 && seen->turns == before; ++tries) usleep(1000);
  CHECK(seen->turns != before);
  munmap(seen, sizeof *seen);
}

constexpr int patience_ms = 200;
volatile pid_t awaited = 0;

/// As if this process had no processor from here on until the thread has stopped, and longer than its
/// patience.
void lose_processor(int) {
  constexpr int long_enough = 5000;  // ms; its stop may have been seen already
  for (int i = 0; i < long_enough; ++i) {
    siginfo_t info{};
    if (waitid(P_PID, static_cast<id_t>(awaited), &info, WSTOPPED | WNOHANG | WNOWAIT | __WALL) != 0 ||
        info.si_pid != 0)
      break;
    usleep(1000);
  }
  usleep(2 * patience_ms * 1000);
}

TEST_CASE("time in which nobody could look does not count against a thread that stops") {
  test::held_child child([] {
    for (;;) {
      const pid_t grandchild = vfork();  // a parent that does not stop until its child has ended
      if (grandchild == 0) {
        usleep(50'000);
        _exit(0);
      }
      waitpid(grandchild, nullptr, 0);
    }
    return 0;
  });
  awaited = child.pid();
  struct sigaction action {}, before {};
  action.sa_handler = lose_processor;
  sigaction(SIGALRM, &action, &before);
  for (int i = 0; i < 5; ++i) {
    held_thread thread(child.pid());
    REQUIRE(thread.seize(0).ok());
    const itimerval soon{{}, {0, 5000}};
    setitimer(ITIMER_REAL, &soon, nullptr);
    const auto stopped = thread.wait(patience_ms);
    REQUIRE(stopped.ok());
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
  }
  sigaction(SIGALRM, &before, nullptr);
}

TEST_CASE("who is born while the others are being stopped is held as well") {
  test::held_child child([] {
    const auto bear = [] {
      for (;;) std::thread([] {}).join();
    };
    for (int i = 0; i < 3; ++i) std::thread(bear).detach();
    bear();
    return 0;
  });
  for (int i = 0; i < 20; ++i) {
    all_threads threads(child.pid());
    report why;
    REQUIRE(threads.hold(why).ok());
    for (const pid_t tid : numbers_in(proc(child.pid(), "task"))) {
      const char state = state_of(proc(child.pid(), "task/" + std::to_string(tid))).letter;
      if (state != 't' && state != 'Z' && state != 'X' && state != '?')
        FAIL("hold " << i << ": thread " << tid << " is in state " << state);
    }
  }
}

TEST_CASE("a program whose every thread has ended is gone") {
  test::held_child child([] { return 0; });
  all_threads threads(child.pid());
  report why;
  CHECK(threads.hold(why).error() == errc::gone);
}

}  // namespace
}  // namespace ckpt::hijack
