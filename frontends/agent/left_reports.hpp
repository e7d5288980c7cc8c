// SPDX-License-Identifier: MIT
//
// A helper that dies while threads are reporting (thread_report.hpp) leaves them to go back by themselves,
// from frames in the working memory of that checkpoint, and nobody knows when the last is out. So this memory
// stays until the next time that all threads stand still elsewhere.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

class left_reports {
 public:
  // Context: triggering thread
  void keep(range memory) {
    before(memory) = latest_;
    latest_ = memory;
  }
  // Context: helper
  [[nodiscard]] bool contains(u64 address) const {
    for (range r = latest_; !r.empty(); r = before(r))
      if (r.contains(address)) return true;
    return false;
  }
  // Context: triggering thread, all others frozen and none within
  void release() {
    while (!latest_.empty()) {
      const range r = latest_;
      latest_ = before(r);
      (void)sys::munmap(r.begin, r.length());
    }
  }

 private:
  /// Each begins with where the one before is.
  static range& before(range r) { return *reinterpret_cast<range*>(r.begin); }
  range latest_;
};

}  // namespace ckpt::agent
