// SPDX-License-Identifier: MIT
//
// Calls in the name of a borrowed thread: of the kernel, through a `syscall` instruction that the
// process has anyway (its vDSO), and of a function, which returns to that same instruction. So no
// code is written into the process, no signal is needed to get it back, and a thread that steps
// beside the road is seen at once.
#pragma once

#include "ckpt/base/text.hpp"
#include "tracee.hpp"

namespace ckpt::hijack {

/// A `syscall` instruction in the other process.
class call_site {
 public:
  explicit call_site(tracee& t) : tracee_(t) {}
  call_site(const call_site&) = delete;
  call_site& operator=(const call_site&) = delete;
  ~call_site() { give_back(); }

  /// One that is there already, in a page of an executable mapping.
  result<void> find(remote_address page);
  /// Writes one over the word at an aligned address of code, until the end of this object: for
  /// kernels that run without a vDSO.
  result<void> borrow(remote_ptr<u64> at);
  void give_back();
  /// One that is known.
  void use(remote_address at) { address_ = at; }

  [[nodiscard]] remote_address address() const { return address_; }

 private:
  tracee& tracee_;
  remote_address address_;
  bool borrowed_ = false;
  u64 saved_ = 0;
};

/// The thread is at a system call's exit and borrowed.
class remote_caller {
 public:
  remote_caller(tracee& t, const registers& base, remote_address site)
      : tracee_(t), base_(base), site_(site) {}

  template <class... Arguments>
  result<u64> system_call(long number, Arguments... arguments) {
    return call_kernel(static_cast<u64>(number), {static_cast<u64>(arguments)...});
  }
  /// `stack_end` is the end of memory that nobody uses.
  result<void> function_call(remote_address function, const std::array<u64, 3>& arguments,
                             remote_address stack_end);
  /// The same for a thread that must find back by itself: at `top` stands a return address, from
  /// which it comes to the `syscall` at `last`, which is not made.
  result<void> function_call_through(remote_address function, const std::array<u64, 3>& arguments,
                                     remote_address top, remote_address last);
  /// What brought a function call to its end other than by returning; 0 when nothing did.
  [[nodiscard]] int fatal_signal() const { return fatal_signal_; }

 private:
  result<u64> call_kernel(u64 number, const std::array<u64, 6>& arguments);
  result<void> to_system_call();

  tracee& tracee_;
  registers base_;
  remote_address site_;
  int fatal_signal_ = 0;
};

/// Memory in the other process that is unmapped at the end.
class borrowed_memory {
 public:
  explicit borrowed_memory(remote_caller& caller) : caller_(caller) {}
  borrowed_memory(const borrowed_memory&) = delete;
  borrowed_memory& operator=(const borrowed_memory&) = delete;
  ~borrowed_memory() { give_back(); }

  result<void> take(u64 length);
  void give_back();
  void keep() { length_ = 0; }
  [[nodiscard]] remote_address begin() const { return begin_; }
  [[nodiscard]] remote_address end() const { return begin_ + length_; }

 private:
  remote_caller& caller_;
  remote_address begin_;
  u64 length_ = 0;
};

}  // namespace ckpt::hijack
