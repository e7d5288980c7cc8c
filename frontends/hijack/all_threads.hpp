// SPDX-License-Identifier: MIT
//
// The threads of a program, held at once by ptrace.
#pragma once

#include <sys/types.h>

#include <list>
#include <unordered_set>
#include <vector>

#include "other_process.hpp"

namespace ckpt::hijack {

/// Every thread of a process. The end of this object lets all of them go.
class all_threads {
 public:
  explicit all_threads(pid_t pid) : pid_(pid) {}
  all_threads(const all_threads&) = delete;
  all_threads& operator=(const all_threads&) = delete;

  /// One that is born meanwhile is seen by the next pass.
  result<void> hold(report& why);

  /// Whether one stood in this memory when it was stopped.
  [[nodiscard]] bool any_in(range memory) const;

  /// Where those stand that block every signal.
  [[nodiscard]] std::vector<sys::abi::user_regs> that_block_all() const;

  /// Best is one that computes, or sleeps without a time limit of the kernel's; the main thread of
  /// several such. errc::not_found when all run 32-bit code.
  [[nodiscard]] result<pid_t> suitable() const;

 private:
  struct held {
    explicit held(pid_t t) : tid(t), thread(t) {}
    pid_t tid;
    held_thread thread;
    bool still = false;
    sys::abi::user_regs stood{};
  };

  result<void> meet(pid_t tid);
  result<bool> stands_still(held& t, report& why);

  pid_t pid_;
  std::list<held> threads_;
  std::unordered_set<pid_t> known_;
};

}  // namespace ckpt::hijack
