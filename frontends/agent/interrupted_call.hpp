// SPDX-License-Identifier: MIT
//
// The trigger signal makes some system calls return -EINTR even with SA_RESTART (signal(7):
// poll, nanosleep, epoll_wait, pause and their kin). The program did not ask for that signal, so
// the call is made again: rip back over the instruction, the number into rax. The kernel keeps
// every other argument register; the number itself is found in the code before the call.
#pragma once

#include <cstring>

#include "ckpt/sys/calls.hpp"

namespace ckpt::agent {

/// The calls that can end with EINTR: those that signal(7) lists as never restarted, and those that
/// SA_RESTART would have restarted, had the program not put the disposition back without it.
[[nodiscard]] constexpr bool can_be_interrupted(u32 number) {
  switch (number) {
    case __NR_poll: case __NR_ppoll: case __NR_select: case __NR_pselect6: case __NR_pause:
    case __NR_nanosleep: case __NR_clock_nanosleep: case __NR_epoll_wait: case __NR_epoll_pwait:
    case __NR_epoll_pwait2: case __NR_rt_sigsuspend: case __NR_rt_sigtimedwait: case __NR_semop:
    case __NR_semtimedop: case __NR_msgrcv: case __NR_msgsnd: case __NR_io_getevents:
    case __NR_io_pgetevents: case __NR_futex: case __NR_accept: case __NR_accept4:
    case __NR_recvfrom: case __NR_recvmsg: case __NR_recvmmsg: case __NR_sendto:
    case __NR_sendmsg: case __NR_connect: case __NR_read: case __NR_write: case __NR_readv:
    case __NR_writev: case __NR_open: case __NR_openat: case __NR_ioctl: case __NR_wait4:
    case __NR_waitid: case __NR_flock: case __NR_fcntl: case __NR_sendfile: case __NR_splice:
    case __NR_getrandom: case __NR_mq_timedreceive: case __NR_mq_timedsend:
      return true;
    default: return false;
  }
}

/// The instruction `mov $number, %eax` stands close before `syscall` in every libc's wrappers.
[[nodiscard]] inline u32 number_before(const u8* code) {
  constexpr int farthest = 24;
  for (int back = 5; back <= farthest; ++back) {
    if (code[-back] != 0xb8) continue;
    u32 number = 0;
    std::memcpy(&number, code - back + 1, sizeof number);
    if (can_be_interrupted(number)) return number;
  }
  return ~u32{0};
}

/// Makes the interrupted call again when the trigger alone interrupted it. A signal of the
/// program's own that waits to be delivered keeps its -EINTR.
// Context: signal handler
inline bool reissue_interrupted_call(sys::abi::ucontext& context) {
  auto& regs = context.uc_mcontext;
  if (static_cast<i64>(regs.rax) != -4 /* EINTR */ || regs.rip < 64) return false;
  // The bytes before rip have just been executed, but they may be execute-only or at the very
  // start of a mapping: they are read with a call that cannot fault.
  u8 code[32];
  const sys::abi::iovec to{reinterpret_cast<u64>(code), sizeof code};
  const sys::abi::iovec from{regs.rip - sizeof code, sizeof code};
  const auto got = sys::process_vm_readv(sys::getpid(), to, from);
  if (!got.ok() || *got != sizeof code) return false;
  const u8* call = code + sizeof code - 2;
  if (call[0] != 0x0f || call[1] != 0x05) return false;
  const u32 number = number_before(call);
  if (number == ~u32{0}) return false;
  u64 pending = 0;
  if (!sys::rt_sigpending(pending).ok() || (pending & ~context.uc_sigmask) != 0) return false;
  regs.rip -= 2;
  regs.rax = number;
  return true;
}

}  // namespace ckpt::agent
