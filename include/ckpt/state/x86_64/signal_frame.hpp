// SPDX-License-Identifier: MIT
//
// A thread goes back to where it was by rt_sigreturn from a frame that is built here for the
// restoring task: component by component at this machine's offsets, of the size this task is
// permitted. The kernel drops the vector registers silently when any of it is off.
// Source: arch/x86/kernel/fpu/signal.c (check_xstate_in_sigframe), Intel SDM vol. 1, 13.4.
#pragma once

#include <cstring>

#include "ckpt/base/range.hpp"
#include "ckpt/state/x86_64/thread.hpp"
#include "ckpt/sys/x86_64/cpu.hpp"

namespace ckpt::state {

/// The standard-format area of the largest permitted set of components fits with room to spare:
/// AMX makes it about 11 KiB.
inline constexpr u64 max_extended_area = 16 * 1024;

struct alignas(64) signal_frame {
  u8 extended[max_extended_area];  // 64-byte aligned, as XRSTOR wants it
  // The kernel reads the frame from rsp - 8 when rt_sigreturn is entered: the word is the return
  // address that the handler's ret would have taken.
  alignas(16) u64 return_address;
  sys::abi::ucontext context;
  sys::abi::siginfo info;
};

namespace arch_detail {
inline u64 permitted_components() {
  const u64 enabled = sys::arch::enabled_components();
  u64 permitted = 0;
  if (!sys::arch_prctl(sys::abi::arch_get_xcomp_perm, &permitted).ok())
    permitted = enabled & ~(u64{1} << 18);  // kernels before 5.16 know no AMX
  return permitted & enabled;
}
inline u32 area_size(u64 components) {
  u32 size = sys::abi::fxsave_size + sys::abi::xsave_header_size;
  for (u32 c = 2; c < 63; ++c) {
    if ((components >> c & 1) == 0) continue;
    const auto place = sys::arch::place_of_component(c);
    if (place.offset + place.size > size) size = place.offset + place.size;
  }
  return size;
}
}  // namespace arch_detail

/// Writes the extended state in the frame of a trigger signal as records.
// Context: helper, all threads frozen
inline result<void> capture_extended_state(format::metadata_builder& out, i32 tid,
                                           const sys::abi::sigcontext& context) {
  const auto* area = reinterpret_cast<const std::byte*>(context.fpstate);
  if (area == nullptr) return {};
  const auto add = [&](u32 component, bytes raw) {
    extended_state s{};
    s.tid = tid;
    s.component = component;
    return out.add(s, raw);
  };
  sys::abi::fpx_sw_bytes sw{};
  std::memcpy(&sw, area + sys::abi::fpx_sw_offset, sizeof sw);
  CKPT_TRY(add(0, bytes(area, sys::abi::fxsave_size)));
  if (sw.magic1 != sys::abi::fp_xstate_magic1) return {};
  u64 in_use = 0;
  std::memcpy(&in_use, area + sys::abi::fxsave_size, sizeof in_use);
  in_use &= sw.xfeatures;
  for (u32 c = 2; c < 63; ++c) {
    if ((in_use >> c & 1) == 0) continue;
    const auto place = sys::arch::place_of_component(c);
    if (u64{place.offset} + place.size > sw.xstate_size) return errc::malformed;
    CKPT_TRY(add(c, bytes(area + place.offset, place.size)));
  }
  return {};
}

/// Prepares an empty frame: every component in its initial state.
// Context: agent, in restored memory
inline void begin_frame(signal_frame& frame, const thread& t) {
  std::memset(&frame, 0, sizeof frame);
  auto& context = frame.context;
  context.uc_flags = sys::abi::uc_fp_xstate | sys::abi::uc_sigcontext_ss |
                     sys::abi::uc_strict_restore_ss;
  context.uc_stack = {t.alternate_stack, static_cast<i32>(t.alternate_stack_flags.get()), 0,
                      t.alternate_stack_size};
  context.uc_sigmask = t.signal_mask;
  registers_to(t, context.uc_mcontext);
  // User code and data selectors of 64-bit mode (arch/x86/include/asm/segment.h).
  context.uc_mcontext.cs = 0x33;
  context.uc_mcontext.ss = 0x2b;
  context.uc_mcontext.fpstate = reinterpret_cast<u64>(&frame.extended[0]);

  // XRSTOR loads MXCSR even where the SSE component is in its initial state (SDM vol. 1, 13.8.1).
  constexpr u32 initial_mxcsr = 0x1f80;
  constexpr std::size_t mxcsr_offset = 24;
  std::memcpy(&frame.extended[mxcsr_offset], &initial_mxcsr, sizeof initial_mxcsr);

  const u64 components = arch_detail::permitted_components();
  if (!sys::arch::has_xsave()) {
    context.uc_flags &= ~sys::abi::uc_fp_xstate;
    return;
  }
  sys::abi::fpx_sw_bytes sw{};
  sw.magic1 = sys::abi::fp_xstate_magic1;
  sw.xstate_size = arch_detail::area_size(components);
  sw.extended_size = sw.xstate_size + 4;
  sw.xfeatures = components;
  std::memcpy(&frame.extended[sys::abi::fpx_sw_offset], &sw, sizeof sw);
  const u32 end = sys::abi::fp_xstate_magic2;
  std::memcpy(&frame.extended[sw.xstate_size], &end, sizeof end);
}

/// Puts one saved component at this machine's place for it.
// Context: agent, in restored memory
inline result<void> add_component(signal_frame& frame, u32 component, bytes raw) {
  u64 in_use = 0;
  std::memcpy(&in_use, &frame.extended[sys::abi::fxsave_size], sizeof in_use);
  if (component == 0) {
    // Up to fpx_sw_offset: the reserved bytes behind it are the kernel's.
    if (raw.size() != sys::abi::fxsave_size) return errc::malformed;
    std::memcpy(&frame.extended[0], raw.data(), sys::abi::fpx_sw_offset);
    in_use |= 3;
  } else {
    // Supervisor components, which are the kernel's own, have no place in the standard format.
    constexpr u32 first_place = sys::abi::fxsave_size + sys::abi::xsave_header_size;
    if (component < 2 || component > 62) return errc::malformed;
    const auto place = sys::arch::place_of_component(component);
    if (place.size == 0 || place.offset < first_place || raw.size() != place.size ||
        u64{place.offset} + place.size + 4 > max_extended_area)
      return errc::malformed;
    std::memcpy(&frame.extended[place.offset], raw.data(), raw.size());
    in_use |= u64{1} << component;
  }
  std::memcpy(&frame.extended[sys::abi::fxsave_size], &in_use, sizeof in_use);
  return {};
}

// Context: agent, in restored memory, last of all
[[noreturn]] inline void enter(signal_frame& frame) {
  // rt_sigreturn leaves NT and ID as it finds them.
  constexpr u64 nested_task = 1 << 14, identification = 1 << 21;
  const u64 flags = frame.context.uc_mcontext.eflags & (nested_task | identification);
  __asm__ volatile(
      "movq %0, %%rsp\n\tpushfq\n\torq %2, (%%rsp)\n\tpopfq\n\t"
      "movl $%c1, %%eax\n\tsyscall\n\thlt"
      :
      : "r"(&frame.context), "i"(__NR_rt_sigreturn), "r"(flags)
      : "memory");
  __builtin_unreachable();
}

}  // namespace ckpt::state
