// SPDX-License-Identifier: MIT
//
// The trigger signal makes some system calls return -EINTR even with SA_RESTART (signal(7):
// poll, nanosleep, epoll_wait, pause and their kin). The program did not ask for that signal, so
// the call is made again: rip back over the instruction, the number into rax. The kernel keeps
// every other argument register; the number is lost and is found in the code before the call. Where
// it cannot be found beyond doubt the program sees the EINTR: a wrong number would be a wrong call.
// docs/SYSTEM_CALLS.md says what a program sees of it, call by call.
#pragma once

#include <cstring>

#include "ckpt/sys/file.hpp"
#include "instruction.hpp"

namespace ckpt::agent {

/// The calls that can end with EINTR: those that signal(7) lists as never restarted, and those that
/// SA_RESTART would have restarted, had the program not put the disposition back without it.
[[nodiscard]] constexpr bool can_be_interrupted(u64 number) {
  switch (number) {
    case __NR_poll: case __NR_ppoll: case __NR_select: case __NR_pselect6: case __NR_pause:
    case __NR_nanosleep: case __NR_clock_nanosleep: case __NR_epoll_wait: case __NR_epoll_pwait:
    case __NR_epoll_pwait2: case __NR_rt_sigsuspend: case __NR_rt_sigtimedwait: case __NR_semop:
    case __NR_semtimedop: case __NR_msgrcv: case __NR_msgsnd: case __NR_io_getevents:
    case __NR_io_pgetevents: case __NR_futex: case __NR_futex_waitv: case __NR_accept:
    case __NR_accept4: case __NR_recvfrom: case __NR_recvmsg: case __NR_recvmmsg: case __NR_sendto:
    case __NR_sendmsg: case __NR_sendmmsg: case __NR_connect: case __NR_read: case __NR_write:
    case __NR_readv: case __NR_writev: case __NR_preadv2: case __NR_pwritev2: case __NR_open:
    case __NR_openat: case __NR_openat2: case __NR_creat: case __NR_ioctl: case __NR_wait4:
    case __NR_waitid: case __NR_flock: case __NR_fcntl: case __NR_sendfile: case __NR_splice:
    case __NR_tee: case __NR_vmsplice: case __NR_getrandom: case __NR_mq_timedreceive:
    case __NR_mq_timedsend:
      return true;
    default: return false;
  }
}

inline constexpr u64 not_found = ~u64{0};

/// The code around a place, as much of it as there is.
struct code_around {
  static constexpr u64 reach = 2048;
  /// How much of the code before a call is read to find who set a register.
  static constexpr u64 back = 96;
  u8 bytes[2 * reach];
  u64 begin = 0, end = 0;

  /// read(address, buffer, size) copies memory of the program and cannot fault.
  template <class Read>
  [[nodiscard]] bool load(const Read& read, u64 place) {
    begin = place - reach, end = place + reach;
    if (place > reach && read(begin, bytes, end - begin)) return true;
    if (const u64 page = place & ~u64{page_size - 1}; page > begin) begin = page;
    if (const u64 page = (place | (page_size - 1)) + 1; page < end) end = page;
    return begin < place && read(begin, bytes, end - begin);
  }
  [[nodiscard]] const u8* at(u64 address) const { return bytes + (address - begin); }
  [[nodiscard]] const u8* first() const { return bytes; }
  [[nodiscard]] const u8* last() const { return bytes + (end - begin); }

  template <std::size_t Size>
  [[nodiscard]] bool ends_with(u64 address, const u8 (&wanted)[Size]) const {
    return address >= begin + Size && address <= end &&
           std::memcmp(at(address - Size), wanted, Size) == 0;
  }
};

/// Registers at a place in the code; of those not marked as known the value is lost.
struct known_registers {
  u64 value[16];
  u32 known;
  [[nodiscard]] bool has(u8 reg) const { return (known >> reg & 1) != 0; }
};
/// What a function must leave as it was.
inline constexpr u32 kept_by_calls =
    1u << rbx | 1u << rbp | 1u << rsp | 1u << r12 | 1u << r13 | 1u << r14 | 1u << r15;

/// The value that `reg` had at `place`, where straight code leads to: from the instruction that set
/// it, and from what that has read, if it is still there. `registers` are those at `place`.
template <class Read>
[[nodiscard]] u64 value_before(const Read& read, const code_around& code, u64 place, gpr reg,
                               const known_registers& registers) {
  if (place - code.begin < code_around::back / 2) return not_found;
  const u8* end = code.at(place);
  const u8* begin = place - code.begin < code_around::back ? code.first() : end - code_around::back;
  const u8* setter = setter_of(reg, begin, end);
  if (setter == nullptr || jumped_into(code.first(), code.last(), setter, end)) return not_found;
  const auto set = decode(setter, end);
  u32 written = 0;
  bool stores = false;
  for (const u8* at = setter + set.length; at < end;) {
    const auto i = decode(at, end);
    written |= i.writes;
    stores = stores || i.stores;
    at += i.length;
  }
  const bool source_lost =
      ((written | set.writes) >> set.other & 1) != 0 || !registers.has(set.other);
  switch (set.from) {
    case instruction::source::constant: return static_cast<u32>(set.value);
    case instruction::source::copy:
      if (source_lost) return not_found;
      return static_cast<u32>(registers.value[set.other]);
    case instruction::source::load: {
      if (stores || source_lost) return not_found;
      u32 value = 0;
      if (!read(registers.value[set.other] + static_cast<u64>(set.value), &value, sizeof value))
        return not_found;
      return value;
    }
    default: return not_found;
  }
}

/// syscall(3) of the GNU C library is the same code everywhere: the number comes in edi, which it
/// overwrites, and its caller has set that just before the call.
template <class Read>
[[nodiscard]] u64 number_in_caller(const Read& read, code_around& code, u64 call,
                                   known_registers registers) {
  static constexpr u8 body[] = {0x48, 0x89, 0xf8, 0x48, 0x89, 0xf7, 0x48, 0x89, 0xd6,
                                0x48, 0x89, 0xca, 0x4d, 0x89, 0xc2, 0x4d, 0x89, 0xc8,
                                0x4c, 0x8b, 0x4c, 0x24, 0x08};
  static constexpr u8 landing[] = {0xf3, 0x0f, 0x1e, 0xfa};  // endbr64
  if (!code.ends_with(call, body)) return not_found;
  const u64 entry = call - sizeof body;
  const u64 early = code.ends_with(entry, landing) ? entry - sizeof landing : entry;
  const auto is_entry = [&](u64 address) { return address == entry || address == early; };
  const auto is_slot = [&](u64 slot) {
    u64 target = 0;
    return read(slot, &target, sizeof target) && is_entry(target);
  };
  const u64 stack = registers.value[rsp];
  registers.value[rsp] += 8;
  registers.known &= kept_by_calls;
  u64 back = 0;
  if (!read(stack, &back, sizeof back) || back < 64 || !code.load(read, back)) return not_found;
  if (back - code.begin < 6 || back >= code.end) return not_found;
  // The call itself must lead here: directly, through a slot, or through a PLT entry.
  const u8* c = code.at(back);
  i32 distance = 0;
  std::memcpy(&distance, c - 4, sizeof distance);
  const u64 target = back + static_cast<u64>(static_cast<i64>(distance));
  if (c[-6] == 0xff && c[-5] == 0x15 && is_slot(target))
    return value_before(read, code, back - 6, rdi, registers);
  if (c[-5] != 0xe8) return not_found;
  u8 plt[16] = {};
  u64 jump = target;
  if (!is_entry(target)) {
    if (!read(target, plt, sizeof plt)) return not_found;
    const u8* p = plt;
    if (std::memcmp(p, landing, sizeof landing) == 0) p += sizeof landing;
    if (*p == 0xf2) ++p;  // bnd
    if (p[0] != 0xff || p[1] != 0x25) return not_found;
    std::memcpy(&distance, p + 2, sizeof distance);
    jump = target + static_cast<u64>(p - plt) + 6 + static_cast<u64>(static_cast<i64>(distance));
    if (!is_slot(jump)) return not_found;
  }
  return value_before(read, code, back - 5, rdi, registers);
}

/// musl makes every call that can be cancelled through __syscall_cp_asm, which overwrites the
/// number; its caller still needs it, to compare it with that of close.
template <class Read>
[[nodiscard]] u64 number_in_musl(const Read& read, const code_around& code, u64 call,
                                 const known_registers& registers) {
  static constexpr u8 body[] = {0x49, 0x89, 0xfb, 0x48, 0x89, 0xf0, 0x48, 0x89, 0xd7, 0x48, 0x89,
                                0xce, 0x4c, 0x89, 0xc2, 0x4d, 0x89, 0xca, 0x4c, 0x8b, 0x44, 0x24,
                                0x08, 0x4c, 0x8b, 0x4c, 0x24, 0x10, 0x4c, 0x89, 0x5c, 0x24, 0x08};
  if (!code.ends_with(call, body)) return not_found;
  const u64 stack = registers.value[rsp];
  u64 back = 0;
  u8 after[40] = {};
  if (!read(stack, &back, sizeof back) || !read(back, after, sizeof after)) return not_found;
  const u8* p = after;
  u64 top = stack + 8;
  for (int pops = 0; pops < 2; ++pops) {  // the two arguments on the stack go
    if (*p >= 0x58 && *p <= 0x5f) ++p, top += 8;
    else if (p[0] == 0x41 && p[1] >= 0x58 && p[1] <= 0x5f) p += 2, top += 8;
    else if (p[0] == 0x48 && p[1] == 0x83 && p[2] == 0xc4) top += p[3], p += 4;
  }
  static constexpr u8 compare[] = {0x48, 0x83, 0xf8, 0xfc};  // cmp $-EINTR, %rax
  if (std::memcmp(p, compare, sizeof compare) != 0) return not_found;
  p += sizeof compare;
  if (p[0] == 0x75) p += 2;
  else if (p[0] == 0x0f && p[1] == 0x85) p += 6;
  else return not_found;
  // cmp $SYS_close, register or word on the stack
  if ((p[0] == 0x48 || p[0] == 0x49) && p[1] == 0x83 && (p[2] & 0xf8) == 0xf8 &&
      p[3] == __NR_close) {
    const u8 reg = static_cast<u8>((p[2] & 7) | (p[0] & 1) << 3);
    return (kept_by_calls >> reg & 1) != 0 && reg != rsp ? registers.value[reg] : not_found;
  }
  if (p[0] == 0x48 && p[1] == 0x83 && p[2] == 0x7c && p[3] == 0x24 && p[5] == __NR_close) {
    u64 number = 0;
    return read(top + p[4], &number, sizeof number) ? number : not_found;
  }
  return not_found;
}

/// The number of the call that has just come back to regs.rip, or not_found.
template <class Read>
[[nodiscard]] u64 interrupted_number(const Read& read, const sys::abi::sigcontext& regs) {
  static constexpr u8 instruction[] = {0x0f, 0x05};
  code_around code;
  if (regs.rip < 64 || !code.load(read, regs.rip) || !code.ends_with(regs.rip, instruction))
    return not_found;
  const u64 call = regs.rip - 2;
  // What the call itself leaves in rax, rcx and r11 is not what was there.
  const known_registers registers{
      {0, 0, regs.rdx, regs.rbx, regs.rsp, regs.rbp, regs.rsi, regs.rdi, regs.r8, regs.r9, regs.r10,
       0, regs.r12, regs.r13, regs.r14, regs.r15},
      0xffff & ~(1u << rax | 1u << rcx | 1u << r11)};
  u64 number = value_before(read, code, call, rax, registers);
  if (number == not_found) number = number_in_musl(read, code, call, registers);
  if (number == not_found) number = number_in_caller(read, code, call, registers);
  return can_be_interrupted(number) ? number : not_found;
}

/// Copies memory of the program; what is execute-only or not there is an answer and no fault. Under
/// a filter (seccomp) it uses calls that every program makes.
// Context: signal handler; agent, in restored memory
class copied_memory {
 public:
  explicit copied_memory(bool filtered = false)
      : filtered_(filtered),
        file_(filtered ? sys::openat(sys::abi::at_fdcwd, "/proc/thread-self/mem",
                                     sys::abi::o_rdonly | sys::abi::o_cloexec)
                             .value_or(-1)
                       : -1) {}

  [[nodiscard]] bool operator()(u64 address, void* buffer, u64 size) const {
    if (filtered_) {
      if (!file_ || !sys::lseek(file_.get(), static_cast<i64>(address), 0 /* SEEK_SET */).ok())
        return false;
      const auto got = sys::read(file_.get(), buffer, size);
      return got.ok() && *got == size;
    }
    const sys::abi::iovec to{reinterpret_cast<u64>(buffer), size};
    const sys::abi::iovec from{address, size};
    const auto got = sys::process_vm_readv(sys::gettid(), to, from);
    return got.ok() && *got == size;
  }

 private:
  bool filtered_;
  sys::unique_fd file_;
};

/// visit(action) for every handler of the program itself among `signals`, until it says true.
// Context: signal handler; agent, in restored memory
template <class Visit>
bool any_handler(u64 signals, u64 agents_handler, Visit&& visit) {
  for (int signal = 1; signal <= 64; ++signal) {
    if ((signals >> (signal - 1) & 1) == 0) continue;
    sys::abi::kernel_sigaction action{};
    if (!sys::rt_sigaction(signal, nullptr, &action).ok()) continue;
    if (action.handler == sys::abi::sig_dfl || action.handler == sys::abi::sig_ign ||
        action.handler == agents_handler)
      continue;
    if (visit(action)) return true;
  }
  return false;
}

/// Whether the call has a mask of its own to wait with. Who uses that looks afterwards at what his
/// handlers have done.
// Context: signal handler
inline bool waits_with_mask(const copied_memory& read, u64 number,
                            const sys::abi::sigcontext& regs) {
  switch (number) {
    case __NR_rt_sigsuspend: return true;
    case __NR_ppoll: return regs.r10 != 0;
    case __NR_epoll_pwait: case __NR_epoll_pwait2: return regs.r8 != 0;
    case __NR_pselect6: case __NR_io_pgetevents: {
      u64 mask = 0;
      return regs.r9 != 0 && read(regs.r9, &mask, sizeof mask) && mask != 0;
    }
    default: return false;
  }
}

/// Mends the registers so that the interrupted call is made again: the number of that call, or
/// not_found when it is not.
///
/// One EINTR is the program's own and looks the same: its own handler interrupted the call, held
/// the trigger back meanwhile, and the trigger came when that handler returned. To make the call
/// again could then wait for what has already come. A program that waits with a mask expects to be
/// told of too much, so it keeps its EINTR when it has such a handler.
// Context: signal handler
inline u64 reissue_interrupted_call(const copied_memory& read, sys::abi::ucontext& context,
                                    int trigger, u64 agents_handler) {
  auto& regs = context.uc_mcontext;
  const u64 number = interrupted_number(read, regs);
  if (number == not_found) return not_found;
  if (waits_with_mask(read, number, regs) &&
      any_handler(~u64{0}, agents_handler, [&](const sys::abi::kernel_sigaction& action) {
        return (action.mask >> (trigger - 1) & 1) != 0;
      }))
    return not_found;
  regs.rip -= 2;
  regs.rax = number;
  return number;
}

/// The last look before the program goes on in front of a call that is to be made again. A signal
/// of its own that has come meanwhile would have ended that call; delivered now, it would not, and the
/// call might wait for it for ever. So the call ends with EINTR after all.
/// `reissued`: by us, and not by the kernel, which does it for SA_RESTART. `elsewhere` are signals
/// that another thread will take.
// Context: signal handler; agent, in restored memory
inline void end_call_for_own_signal(sys::abi::ucontext& context, bool reissued, u64 agents_handler,
                                    u64 elsewhere = 0) {
  auto& regs = context.uc_mcontext;
  // After a call that was interrupted, rcx still has the address behind it.
  if (!can_be_interrupted(regs.rax) || (!reissued && regs.rcx != regs.rip + 2)) return;
  u8 code[2] = {};
  if (!copied_memory()(regs.rip, code, sizeof code) || code[0] != 0x0f || code[1] != 0x05) return;
  u64 pending = 0;
  if (!sys::rt_sigpending(pending).ok()) return;
  const bool ends = any_handler(pending & ~context.uc_sigmask & ~elsewhere, agents_handler,
                                [&](const sys::abi::kernel_sigaction& action) {
                                  return reissued || (action.flags & sys::abi::sa_restart) == 0;
                                });
  if (!ends) return;
  regs.rip += 2;
  regs.rax = static_cast<u64>(-4);
}

}  // namespace ckpt::agent
