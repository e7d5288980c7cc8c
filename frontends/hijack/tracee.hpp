// SPDX-License-Identifier: MIT
//
// A thread of another process that ptrace holds, and what can be borrowed of it: its registers,
// its vector state, its signal mask. What was borrowed is put back by destructors.
// Source: ptrace(2).
#pragma once

#include <sys/types.h>

#include <vector>

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "remote_ptr.hpp"
#include "x86_64/machine.hpp"

namespace ckpt::hijack {

enum class stop_kind {
  system_call,  // entry or exit, in turns
  exec,         // a new program is in place, none of its instructions has run
  signal,       // about to be delivered: `number`
  group,        // stopped by job control, or by an interrupt of ours
  ended,
};

struct stop {
  stop_kind kind = stop_kind::ended;
  int number = 0;
};

/// The vector state as XSAVE lays it out, with room for the largest of any processor.
class vector_state {
 public:
  [[nodiscard]] bytes used() const { return std::span(room_).first(length_); }

 private:
  friend class tracee;
  std::vector<std::byte> room_ = std::vector<std::byte>(64 * 1024);
  std::size_t length_ = 0;  // the kernel says how much it is
};

/// One thread, held from seize() to release() or the end of the object. All memory that is needed
/// while it is held is had before: who runs out of it then can neither go on nor go back.
class tracee {
 public:
  tracee() = default;
  tracee(const tracee&) = delete;
  tracee& operator=(const tracee&) = delete;
  ~tracee() { release(); }

  /// `options` are PTRACE_O_*; system call stops are always told from signals.
  result<void> seize(pid_t tid, long options);
  /// One that another object of this process has seized.
  void adopt(pid_t tid) { tid_ = tid; }
  /// … and that lets it go.
  void forget() { tid_ = 0; }
  /// Asks for a stop; wait() then sees a group stop.
  result<void> interrupt();
  void release();
  /// From here on the thread goes on by itself should this process be killed.
  result<void> survive_me();
  [[nodiscard]] pid_t tid() const { return tid_; }

  /// Waits for the next stop. `ended` when the thread is gone.
  result<stop> wait();
  /// Whether an error came from its death, which ptrace calls ESRCH like much else.
  bool dead();
  result<void> go_on(int signal = 0);                 // to the next event or signal
  result<void> go_on_to_system_call(int signal = 0);  // … or the next entry or exit
  result<void> stay_stopped();  // job control has stopped it, and it remains so

  [[nodiscard]] result<registers> get_registers() const;
  result<void> set_registers(const registers& r) const;
  result<void> get_vectors(vector_state& v) const;
  result<void> set_vectors(vector_state& v) const;
  [[nodiscard]] result<u64> get_mask() const;
  result<void> set_mask(u64 mask) const;

  /// All of it or an error.
  result<void> read(remote_address from, mutable_bytes to) const;
  result<void> write(remote_address to, bytes from) const;
  template <class T>
  result<void> write(remote_ptr<T> to, const T& value) const {
    return write(to.template as<void>(), std::as_bytes(std::span(&value, 1)));
  }
  /// One word of memory that the thread itself cannot write, code for instance.
  [[nodiscard]] result<u64> peek(remote_ptr<u64> at) const;
  result<void> poke(remote_ptr<u64> at, u64 word) const;

 private:
  friend class borrowed_thread;
  pid_t tid_ = 0;
  vector_state vectors_;  // room for those of a thread that is borrowed
};

/// A thread, one of a tracee at a time, whose registers may be changed: at the end it has again what it had. Meanwhile all its
/// signals are blocked, so that they wait for the program instead of reaching what is done in its
/// name. (SIGKILL and SIGSTOP do what they always do.)
class borrowed_thread {
 public:
  explicit borrowed_thread(tracee& t) : tracee_(t) {}
  borrowed_thread(const borrowed_thread&) = delete;
  borrowed_thread& operator=(const borrowed_thread&) = delete;
  ~borrowed_thread() { (void)give_back(); }

  result<void> take();
  result<void> give_back();
  /// The same by way of the agent's agent_begin_alone, for a thread that is before its first
  /// instruction.
  result<void> give_back_through(u64 function, const std::array<u64, 2>& arguments);
  [[nodiscard]] const registers& saved() const { return registers_; }

 private:
  tracee& tracee_;
  bool taken_ = false;
  registers registers_{};
  u64 mask_ = 0;
};

}  // namespace ckpt::hijack
