// SPDX-License-Identifier: MIT
//
// ckpt_hold and ckpt_release: while anybody holds, no checkpoint is made, and what asked for one is
// noted for the last release. The note lies in the page that a forked child finds empty: what asked
// the parent did not ask the child.
//
// Who asks notes first and then looks at the count again; who releases counts down first and then
// looks at the note: one of the two sees the other.
#pragma once

#include "ckpt/base/types.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

class hold {
 public:
  /// Who is waiting; a request that somebody made counts for more than the period's.
  enum waiting : u32 { nobody = 0, by_period = 1, by_request = 2 };

  // Context: any, no libc
  int take() { return static_cast<int>(__atomic_add_fetch(&count_, 1u, __ATOMIC_SEQ_CST)); }
  /// How many are left; -1 when there was none.
  // Context: any, no libc
  int give_back() {
    u32 now = __atomic_load_n(&count_, __ATOMIC_SEQ_CST);
    while (now != 0)
      if (__atomic_compare_exchange_n(&count_, &now, now - 1, false, __ATOMIC_SEQ_CST,
                                      __ATOMIC_SEQ_CST))
        return static_cast<int>(now - 1);
    return -1;
  }
  [[nodiscard]] bool held() const { return __atomic_load_n(&count_, __ATOMIC_SEQ_CST) != 0; }

  /// True when the request is noted for the last release, which is still to come.
  // Context: any, no libc
  bool put_off(waiting who) {
    if (!held()) return false;
    (void)__atomic_fetch_or(&agent_put_off, static_cast<u32>(who), __ATOMIC_SEQ_CST);
    // Released meanwhile: whoever takes the note makes the checkpoint.
    return held() || take_note() == nobody;
  }
  /// What has been put off; it is the caller's now.
  // Context: any, no libc
  [[nodiscard]] u32 take_note() {
    return __atomic_exchange_n(&agent_put_off, 0u, __ATOMIC_SEQ_CST);
  }

 private:
  u32 count_ = 0;
};

}  // namespace ckpt::agent
