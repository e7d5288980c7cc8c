// SPDX-License-Identifier: MIT
//
// The threads of a process, and what they do with the trigger signal.
#include <csignal>

#include "../hijack/other_process.hpp"
#include "ckpt/options/signal_name.hpp"
#include "ckpt/proc/status.hpp"
#include "ckpt/state/refusals.hpp"
#include "ckpt/sys/calls.hpp"
#include "looks.hpp"

namespace ckpt::doctor {
namespace {

std::string name_of_signal(int number) {
  if (number < 32) return "SIG" + std::string(options::signal_names[number]);
  return "signal " + std::to_string(number);
}

/// The number by which the program itself knows a thread.
int inner_number(const std::string& status, pid_t outer) {
  return proc::status_innermost_pid(status).value_or(outer);
}

}  // namespace

void look_at_threads(const proc_view& p, const wishes& w, process_facts& known, examination& e) {
  e.tell("threads", u64{known.threads.size()}, count_of(known.threads.size(), "thread"));
  if (known.threads.empty()) return;
  report why;
  const pid_t first = known.threads.front();
  bool compared = true;
  for (const pid_t tid : known.threads) {
    const std::string status = text_of(p.task_path(tid, "status"));
    if (status.empty()) continue;  // it has ended meanwhile
    const int number = inner_number(status, tid);
    if (tid != first && !w.try_seccomp && proc::status_seccomp(status).value_or(0) != 0 &&
        proc::status_seccomp(text_of(p.path("status"))).value_or(0) == 0) {
      (void)state::refuse_filtered_thread(why, number);
      e.stop("seccomp", why.line(), "CKPT_SECCOMP=try, when the filter lets that thread make sigaltstack, "
                                    "prctl and rt_sigreturn or only returns errors");
    }
    for (const int shared : {sys::abi::kcmp_files, sys::abi::kcmp_fs}) {
      if (tid == first) break;
      const auto order = sys::kcmp(first, tid, shared, 0, 0);
      if (order.ok() && *order != 0) {
        (void)state::refuse_own_table(why, number, shared == sys::abi::kcmp_files);
        e.stop("threads", why.line(), "none: it has asked for that by unshare(2) or clone(2)");
      }
      compared = compared && (order.ok() || order.error() == errc::no_process);
    }
    if (hijack::state_of(p.path("task/" + std::to_string(tid))).letter == 'D')
      e.mention("threads", line_of("thread ", number, " is in a call that nothing interrupts at this moment"),
             "a checkpoint waits for it 50 ms, tries again a few times, and then names it");
  }
  if (!compared)
    e.miss("threads", "whether each thread has a table of descriptors and a directory of its own (kcmp)");
  e.miss("threads", "a local descriptor table (modify_ldt), 32-bit code that a thread is running, what "
                    "holds checkpoints off (ckpt_hold)",
         "the checkpoint itself sees them");
}

void look_at_trigger(const proc_view& p, const wishes& w, const process_facts& known,
                     examination& e) {
  if (w.signal == 0) return;
  const std::string name = name_of_signal(w.signal);
  const u64 bit = u64{1} << (w.signal - 1);
  bool somebody_takes_it = false;
  u64 ignored = 0, caught = 0;
  for (const pid_t tid : known.threads) {
    const std::string status = text_of(p.task_path(tid, "status"));
    if (status.empty()) continue;
    ignored = proc::status_ignored(status).value_or(0);
    caught = proc::status_caught(status).value_or(0);
    somebody_takes_it = somebody_takes_it || (proc::status_blocked(status).value_or(0) & bit) == 0;
  }
  const std::string cure =
      line_of("ckpt -p ", p.pid(), " --now, which needs no signal, or another one with -a");
  // With the agent in it, the handler may be the agent's.
  if ((caught & bit) != 0 && !known.agent)
    e.mention("trigger", line_of("it handles ", name, " itself and keeps it"), cure);
  if ((ignored & bit) != 0)
    e.mention("trigger", line_of("it ignores ", name, known.agent ? ", which makes no checkpoint then" : ""),
           cure);
  if (known.agent && (caught & bit) == 0 && (ignored & bit) == 0)
    e.mention("trigger", line_of(name, " makes no checkpoint of it: its agent has another trigger, or the "
                              "program has given the default back to it"), cure);
  if (!somebody_takes_it && !known.threads.empty())
    e.mention("trigger", line_of("every thread of it blocks ", name), cure);
}

}  // namespace ckpt::doctor
