// SPDX-License-Identifier: MIT
//
// Settings of the process and of a thread: what was read goes back, and what may not go back is
// told. Each case in a child, whose settings nobody else has.
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <set>
#include <string>

#include "ckpt/state/thread_settings.hpp"
#include "support/catch.hpp"
#include "support/in_child.hpp"

namespace ckpt::state {
namespace {

struct losses {
  std::set<std::string> names;
  void operator()(std::string_view what, errc) { names.emplace(what); }
};

TEST_CASE("the settings of a thread go back as they were read") {
  CHECK(test::in_child([] {
          ::setpriority(PRIO_PROCESS, 0, 3);
          ::prctl(PR_SET_TIMERSLACK, 777, 0, 0, 0);
          ::prctl(PR_SET_PDEATHSIG, 12, 0, 0, 0);
          const auto saved = current_thread_settings(::getpid(), 0);
          ::setpriority(PRIO_PROCESS, 0, 9);
          ::prctl(PR_SET_TIMERSLACK, 0, 0, 0, 0);
          ::prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
          losses lost;
          restore_thread_settings(saved, {}, lost);
          finish_thread_settings(saved, lost);
          if (::getpriority(PRIO_PROCESS, 0) != 3 && lost.names.size() != 1) return 1;
          if (::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0) != 777) return 2;
          int signal = 0;
          ::prctl(PR_GET_PDEATHSIG, &signal, 0, 0, 0);
          return signal == 12 ? 0 : 3;
        }) == 0);
}

TEST_CASE("an ordinary user is told that the nice value stays") {
  CHECK(test::in_child([] {
          if (::geteuid() == 0 && ::setresuid(65534, 65534, 65534) != 0) return 1;
          const auto nice = std::to_string(::getpriority(PRIO_PROCESS, 0));
          const auto saved = current_thread_settings(::getpid(), 0);
          ::setpriority(PRIO_PROCESS, 0, 19);
          losses lost;
          restore_thread_settings(saved, {}, lost);
          if (lost.names.size() != 1) return 2;
          return lost.names.begin()->find("nice " + nice) != std::string::npos ? 0 : 3;
        }) == 0);
}

TEST_CASE("an affinity goes back; processors that are not here are told") {
  CHECK(
      test::in_child([] {
        processor_set first;
        first.bits[0] = 1;
        losses lost;
        restore_thread_settings(current_thread_settings(::getpid(), 0), bytes_of(first.bits), lost);
        cpu_set_t now;
        ::sched_getaffinity(0, sizeof now, &now);
        if (CPU_COUNT(&now) != 1 || !lost.names.empty()) return 1;
        // Without one, every processor there is.
        restore_thread_settings(current_thread_settings(::getpid(), 0), {}, lost);
        ::sched_getaffinity(0, sizeof now, &now);
        if (CPU_COUNT(&now) != ::sysconf(_SC_NPROCESSORS_ONLN)) return 2;
        processor_set last;
        last.bits[1023] = 0x80;
        restore_thread_settings(current_thread_settings(::getpid(), 0), bytes_of(last.bits), lost);
        return lost.names.size() == 1 ? 0 : 3;
      }) == 0);
}

TEST_CASE("the settings of a process go back as they were read") {
  CHECK(test::in_child([] {
          auto saved = *current_process_settings();
          if (saved.oom_score_adj == no_oom_score) return 1;
          const i32 before = current_coredump_filter().value_or(absent);
          saved.coredump_filter = before ^ 0x40;
          saved.oom_score_adj = saved.oom_score_adj + 1;
          saved.child_subreaper = 1;
          saved.dumpable = 0;
          losses lost;
          restore_process_settings(saved, lost);
          const auto now = *current_process_settings();
          const i32 filter = current_coredump_filter().value_or(absent);
          if (!lost.names.empty()) return 2;
          if (filter != (before ^ 0x40)) return 3;
          if (now.oom_score_adj != saved.oom_score_adj) return 4;
          if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 1) return 5;
          finish_process_settings(saved, lost);
          int adopts = 0;
          ::prctl(PR_GET_CHILD_SUBREAPER, &adopts, 0, 0, 0);
          return adopts == 1 && ::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 6;
        }) == 0);
}

TEST_CASE("what the kernel could not tell is left alone") {
  CHECK(test::in_child([] {
          process_settings unknown{};
          unknown.dumpable = absent;
          unknown.thp_disable = absent;
          unknown.mdwe = absent;
          unknown.memory_merge = absent;
          unknown.coredump_filter = absent;
          unknown.io_flusher = absent;
          unknown.oom_score_adj = no_oom_score;
          const auto before = *current_process_settings();
          losses lost;
          restore_process_settings(unknown, lost);
          finish_process_settings(unknown, lost);
          const auto after = *current_process_settings();
          return lost.names.empty() && std::memcmp(&before, &after, sizeof before) == 0 ? 0 : 1;
        }) == 0);
}

}  // namespace
}  // namespace ckpt::state
