// SPDX-License-Identifier: MIT
#include "all_threads.hpp"

#include <elf.h>

#include <algorithm>
#include <string>

#include "../agent/interrupted_call.hpp"

namespace ckpt::hijack {
namespace {

/// Some calls say EINTR at once instead of leaving the choice to the kernel (signal(7)). Left to it,
/// they are made again unless a signal with a handler has come.
bool leaves_call_to_kernel(sys::abi::user_regs& now) {
  if (static_cast<i64>(now.rax) != -EINTR || static_cast<i64>(now.orig_rax) < 0 ||
      !agent::can_be_interrupted(now.orig_rax))
    return false;
  now.rax = static_cast<u64>(sys::abi::restart_no_hand);
  return true;
}

}  // namespace

result<void> all_threads::hold(report& why) {
  for (bool grown = true; grown;) {
    grown = false;
    for (const pid_t tid : numbers_in(proc(pid_, "task"))) {
      if (!known_.insert(tid).second) continue;
      grown = true;
      CKPT_TRY(meet(tid));
    }
    for (auto t = threads_.begin(); t != threads_.end();)
      t = CKPT_TRY(stands_still(*t, why)) ? std::next(t) : threads_.erase(t);
  }
  return threads_.empty() ? result<void>(errc::gone) : result<void>();
}

bool all_threads::any_in(range memory) const {
  return std::ranges::any_of(threads_, [&](const held& t) { return memory.contains(t.stood.rip); });
}

std::vector<sys::abi::user_regs> all_threads::that_block_all() const {
  std::vector<sys::abi::user_regs> found;
  constexpr u64 never_blocked = u64{1} << (SIGKILL - 1) | u64{1} << (SIGSTOP - 1);
  for (const held& t : threads_) {
    u64 mask = 0;
    if (ptrace(PTRACE_GETSIGMASK, t.tid, sizeof mask, &mask) == 0 && (mask | never_blocked) == ~u64{0})
      found.push_back(t.stood);
  }
  return found;
}

result<pid_t> all_threads::suitable() const {
  pid_t best = 0;
  int best_rank = -1;
  for (const held& t : threads_) {
    const auto& r = t.stood;
    constexpr u64 code_of_64_bits = 0x33;
    if (r.cs != code_of_64_bits) continue;
    const bool has_limit = static_cast<i64>(r.orig_rax) >= 0 &&
                           static_cast<i64>(r.rax) == sys::abi::restart_block;
    const int rank = (has_limit ? 0 : 2) + (t.tid == pid_ ? 1 : 0);
    if (rank > best_rank) best = t.tid, best_rank = rank;
  }
  if (best == 0) return errc::not_found;
  return best;
}

result<void> all_threads::meet(pid_t tid) {
  held& t = threads_.emplace_back(tid);
  const auto seized = t.thread.seize(PTRACE_O_TRACESYSGOOD);
  if (seized.ok()) return {};
  threads_.pop_back();
  if (seized.error() == no_such) return {};
  // One that has ended, or is on its way out, lets nobody trace it.
  const auto state = state_of(proc(pid_, "task/" + std::to_string(tid)));
  const bool ends = (state.flags & proc::task_exiting) != 0 || state.letter == 'Z' ||
                    state.letter == 'X' || state.letter == '?';
  return seized.error() == not_permitted && ends ? result<void>() : seized;
}

/// False for one that has ended.
result<bool> all_threads::stands_still(held& t, report& why) {
  if (t.still) return true;
  auto stopped = t.thread.wait();
  // One that waits for a processor on a busy machine will stop as soon as it gets one, or has just done
  // so. What nothing interrupts is a sleep of its own kind.
  for (int more = 0; stopped.error() == errc::busy && more < 10; ++more) {
    if (state_of(proc(pid_, "task/" + std::to_string(t.tid))).letter == 'D') break;
    stopped = t.thread.wait();
  }
  if (stopped.error() == errc::gone || stopped.error() == no_such) return false;
  if (stopped.error() == errc::busy)
    return why.refuse("thread ", t.tid, " does not stop (inside vfork, or in a call that nothing "
                      "interrupts); try again when it has come back");
  CKPT_TRY(stopped);
  t.still = true;
  u64 size = sizeof t.stood;
  CKPT_TRY(t.thread.get(NT_PRSTATUS, &t.stood, size));
  if (leaves_call_to_kernel(t.stood)) CKPT_TRY(t.thread.set_registers(t.stood));
  return true;
}

}  // namespace ckpt::hijack
