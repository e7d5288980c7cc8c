// SPDX-License-Identifier: MIT
//
// What the processes of one restart tell each other: a socket of whole messages between the
// stand-in and the guardian, which the program uses once, to say that it is there. That one of them
// is gone shows as the end of the stream; who sent a message, the kernel says, in the receiver's
// own numbers, so no /proc has to be trusted for it.
#pragma once

#include <cstring>

#include "ckpt/sys/file.hpp"

namespace ckpt::restart {

enum class word : u32 {
  failed,      // guardian: `step` has failed with `error`; nothing has begun
  born,        // program: it is there
  go,          // stand-in, to the guardian: the program is known
  stopped,     // guardian: the program was stopped by signal `value`
  ended,       // guardian: the program has ended with wait status `value`
  had_signal,  // stand-in: has the guardian got signal `value`, too? The answer is 0 or 1.
};

/// What the guardian was doing; the last thing a failure is said about.
enum class step : u32 { channel, guardian, user_map, number };

struct message {
  word kind;
  restart::step step;
  u32 error;
  u32 value;
};

/// One end of it.
class channel_end {
 public:
  channel_end() = default;
  explicit channel_end(int fd) : fd_(fd) {}
  [[nodiscard]] int fd() const { return fd_; }

  /// False when the other end is gone. A kernel short of memory is asked again: a message that is
  /// lost would leave somebody waiting for ever.
  bool send(const message& m) const {
    for (int tries = 0; tries < patience; ++tries) {
      const auto sent = sys::sendto(fd_, &m, sizeof m, sys::abi::msg_nosignal);
      if (sent.ok()) return *sent == sizeof m;
      if (sent.error() == gone_away) return false;
      (void)sys::nanosleep({0, 1'000'000});
    }
    return false;
  }

  /// False at the end of the stream, and with `wait` false when there is nothing yet. `sender` is
  /// 0 where the kernel has not named one.
  bool receive(message& m, bool wait = true, int* sender = nullptr) const {
    for (int tries = 0;;) {
      struct {
        sys::abi::cmsghdr head;
        sys::abi::ucred who;
      } control{};
      sys::abi::iovec to{reinterpret_cast<u64>(&m), sizeof m};
      sys::abi::msghdr h{};
      h.msg_iov = &to;
      h.msg_iovlen = 1;
      h.msg_control = &control;
      h.msg_controllen = sizeof control;
      const auto got = sys::recvmsg(fd_, h,
                                    sys::abi::msg_cmsg_cloexec | (wait ? 0 : sys::abi::msg_dontwait));
      if (!got.ok() && got.error() == errc::interrupted) continue;
      if (!got.ok() && got.error() != errc::again && ++tries < patience) {
        (void)sys::nanosleep({0, 1'000'000});
        continue;
      }
      if (sender != nullptr)
        *sender = control.head.cmsg_type == sys::abi::scm_credentials ? control.who.pid : 0;
      return got.ok() && *got == sizeof m;
    }
  }

 private:
  static constexpr int patience = 1000;
  static constexpr errc gone_away{32};  // EPIPE
  int fd_ = -1;
};

/// Both ends, out of the way of the descriptors that the program will have from outside.
inline result<void> open_channel(channel_end& outer, channel_end& inner) {
  int ends[2];
  CKPT_TRY(sys::socketpair(sys::abi::sock_seqpacket | sys::abi::sock_cloexec, ends));
  for (int& end : ends) {
    const auto moved = sys::fcntl(end, sys::abi::f_dupfd_cloexec, 3);
    if (moved.ok()) {
      (void)sys::close(end);
      end = static_cast<int>(*moved);
    }
  }
  constexpr i32 on = 1;
  CKPT_TRY(sys::setsockopt(ends[0], sys::abi::so_passcred, on));
  outer = channel_end(ends[0]);
  inner = channel_end(ends[1]);
  return {};
}

/// Whoever signals a process group holds a lock until every member has the signal. This call takes
/// it for writing, and then finds no such group.
inline void wait_for_group_signals() {
  (void)sys::setpgid(0, 0x7fffffff);
}

/// Nobody may wait for the end of a pipe because one of us holds it, too.
template <std::size_t N>
void close_all_but(const int (&kept)[N]) {
  for (u32 from = 0;;) {
    u32 next = ~u32{0};
    for (const int fd : kept)
      if (fd >= 0 && static_cast<u32>(fd) >= from && static_cast<u32>(fd) < next)
        next = static_cast<u32>(fd);
    if (next > from) (void)sys::close_range(from, next == ~u32{0} ? next : next - 1);
    if (next == ~u32{0}) return;
    from = next + 1;
  }
}

}  // namespace ckpt::restart
