// SPDX-License-Identifier: MIT
//
// The signal that asks for a checkpoint: its disposition is the agent's for as long as it is the
// trigger, and then what it was before. A program that has put a handler of its own there keeps it.
#pragma once

#include "ckpt/sys/calls.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

class trigger_signal {
 public:
  /// 0 for none.
  [[nodiscard]] int number() const { return number_; }

  // Context: library load; ordinary, with the agent's lock
  result<void> install(int signal) {
    sys::abi::kernel_sigaction action{};
    action.handler = reinterpret_cast<u64>(&trigger_entry);
    action.flags =
        sys::abi::sa_siginfo | sys::abi::sa_onstack | sys::abi::sa_restart | sys::abi::sa_restorer;
    action.restorer = reinterpret_cast<u64>(&trigger_restorer);
    action.mask = ~u64{0};
    sys::abi::kernel_sigaction before{};
    if (auto r = sys::rt_sigaction(signal, &action, &before); !r.ok()) return r;
    before_ = before;
    number_ = signal;
    return {};
  }

  /// Moves from one signal to another, 0 for none. When that is not possible nothing changes.
  // Context: ordinary, with the agent's lock
  result<void> move_to(int signal) {
    if (signal == number_) return {};
    const trigger_signal old = *this;
    number_ = 0;
    if (signal != 0)
      if (auto r = install(signal); !r.ok()) {
        *this = old;
        return r;
      }
    old.give_back();
    return {};
  }

 private:
  /// One that waits was for the agent, and would end the program if its default does: to ignore a
  /// signal for an instant takes what waits of it away.
  void give_back() const {
    if (number_ == 0) return;
    sys::abi::kernel_sigaction now{};
    if (!sys::rt_sigaction(number_, nullptr, &now).ok() ||
        now.handler != reinterpret_cast<u64>(&trigger_entry))
      return;
    sys::abi::kernel_sigaction ignore{};
    ignore.handler = sys::abi::sig_ign;
    (void)sys::rt_sigaction(number_, &ignore, nullptr);
    (void)sys::rt_sigaction(number_, &before_, nullptr);
  }

  int number_ = 0;
  sys::abi::kernel_sigaction before_{};
};

}  // namespace ckpt::agent
