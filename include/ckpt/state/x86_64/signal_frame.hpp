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

/// Where the state components of the calling task lie in the standard format of the XSAVE area.
/// Asked of the processor once for all threads: CPUID is slow in a virtual machine.
struct extended_layout {
  bool has_xsave = false;
  u64 permitted = 0;  // what a frame of this task may hold
  u32 frame_size = 0;  // of the area with the permitted components
  u32 full_size = 0;   // with all that the kernel has enabled, as NT_X86_XSTATE of ptrace(2) has it
  sys::arch::component_place places[63] = {};

  static extended_layout of_this_task() {
    extended_layout l;
    l.has_xsave = sys::arch::has_xsave();
    const u64 enabled = sys::arch::enabled_components();
    if (!sys::arch_prctl(sys::abi::arch_get_xcomp_perm, &l.permitted).ok())
      l.permitted = enabled & ~(u64{1} << 18);  // kernels before 5.16 know no AMX
    l.permitted &= enabled;
    l.frame_size = l.full_size = sys::abi::fxsave_size + sys::abi::xsave_header_size;
    for (u32 c = 2; c < 63; ++c) {
      if ((enabled >> c & 1) == 0) continue;
      l.places[c] = sys::arch::place_of_component(c);
      const u32 end = l.places[c].offset + l.places[c].size;
      if (end > l.full_size) l.full_size = end;
      if ((l.permitted >> c & 1) != 0 && end > l.frame_size) l.frame_size = end;
    }
    return l;
  }
};

/// A frame in memory of its owner's: the extended area, then what rt_sigreturn reads.
class signal_frame {
 public:
  /// XRSTOR wants the area aligned so.
  static constexpr u64 alignment = 64;
  [[nodiscard]] static constexpr u64 size_for(const extended_layout& l) {
    return align_up(u64{l.full_size} + sizeof(sys::abi::fp_xstate_magic2), alignment) +
           align_up(sizeof(tail), alignment);
  }

  signal_frame() = default;
  /// `memory` is aligned and of size_for(layout); the layout outlives the frame.
  signal_frame(mutable_bytes memory, const extended_layout& layout)
      : layout_(&layout), extended_(memory.data()),
        tail_(reinterpret_cast<tail*>(memory.data() + memory.size() - sizeof(tail))) {}

  [[nodiscard]] const extended_layout& layout() const { return *layout_; }
  [[nodiscard]] std::byte* extended() const { return extended_; }
  [[nodiscard]] sys::abi::ucontext& context() const { return tail_->context; }
  /// What the stack pointer must be when rt_sigreturn is entered: the word below is the return
  /// address that the handler's ret would have taken.
  [[nodiscard]] u64 stack_pointer() const { return reinterpret_cast<u64>(&tail_->context); }

 private:
  struct alignas(16) tail {
    u64 unused;
    u64 return_address;
    sys::abi::ucontext context;
    sys::abi::siginfo info;
  };
  const extended_layout* layout_ = nullptr;
  std::byte* extended_ = nullptr;
  tail* tail_ = nullptr;
};

/// Writes the components that are in use in an XSAVE area of the standard format as records.
// Context: helper, all threads frozen
inline result<void> capture_extended_area(format::metadata_builder& out, i32 tid, bytes area,
                                          u64 components, const extended_layout& layout) {
  const auto add = [&](u32 component, bytes raw) {
    extended_state s{};
    s.tid = tid;
    s.component = component;
    return out.add(s, raw);
  };
  if (area.size() < sys::abi::fxsave_size) return errc::malformed;
  CKPT_TRY(add(0, area.first(sys::abi::fxsave_size)));
  if (area.size() < sys::abi::fxsave_size + sys::abi::xsave_header_size) return {};
  u64 in_use = 0;
  std::memcpy(&in_use, area.data() + sys::abi::fxsave_size, sizeof in_use);
  in_use &= components;
  for (u32 c = 2; c < 63; ++c) {
    if ((in_use >> c & 1) == 0) continue;
    const auto place = layout.places[c];
    if (place.size == 0 || u64{place.offset} + place.size > area.size()) return errc::malformed;
    CKPT_TRY(add(c, area.subspan(place.offset, place.size)));
  }
  return {};
}

/// The same from the frame of a signal.
// Context: helper, all threads frozen
inline result<void> capture_extended_state(format::metadata_builder& out, i32 tid,
                                           const sys::abi::sigcontext& context,
                                           const extended_layout& layout) {
  const auto* area = reinterpret_cast<const std::byte*>(context.fpstate);
  if (area == nullptr) return {};
  sys::abi::fpx_sw_bytes sw{};
  std::memcpy(&sw, area + sys::abi::fpx_sw_offset, sizeof sw);
  const bool extended = sw.magic1 == sys::abi::fp_xstate_magic1;
  return capture_extended_area(out, tid, {area, extended ? sw.xstate_size : sys::abi::fxsave_size},
                               sw.xfeatures, layout);
}

/// Says to the kernel what is in the frame's extended area. It drops the vector registers silently
/// when any of this is off.
inline void seal_extended_area(signal_frame& frame) {
  auto& context = frame.context();
  const auto& layout = frame.layout();
  context.uc_mcontext.fpstate = reinterpret_cast<u64>(frame.extended());
  context.uc_flags = sys::abi::uc_sigcontext_ss | sys::abi::uc_strict_restore_ss;
  if (!layout.has_xsave) return;
  context.uc_flags |= sys::abi::uc_fp_xstate;
  sys::abi::fpx_sw_bytes sw{};
  sw.magic1 = sys::abi::fp_xstate_magic1;
  sw.xstate_size = layout.frame_size;
  sw.extended_size = sw.xstate_size + 4;
  sw.xfeatures = layout.permitted;
  std::memcpy(frame.extended() + sys::abi::fpx_sw_offset, &sw, sizeof sw);
  const u32 end = sys::abi::fp_xstate_magic2;
  std::memcpy(frame.extended() + sw.xstate_size, &end, sizeof end);
}

/// Fills in all but the extended area.
inline void set_context(signal_frame& frame, const thread& t) {
  auto& context = frame.context();
  std::memset(&context, 0, sizeof context);
  context.uc_stack = {t.alternate_stack, static_cast<i32>(t.alternate_stack_flags.get()), 0,
                      t.alternate_stack_size};
  context.uc_sigmask = t.signal_mask;
  registers_to(t, context.uc_mcontext);
  // User code and data selectors of 64-bit mode (arch/x86/include/asm/segment.h).
  context.uc_mcontext.cs = 0x33;
  context.uc_mcontext.ss = 0x2b;
  seal_extended_area(frame);
}

/// Prepares an empty frame: every component in its initial state.
// Context: agent, in restored memory
inline void begin_frame(signal_frame& frame, const thread& t) {
  std::memset(frame.extended(), 0, frame.layout().full_size);
  // XRSTOR loads MXCSR even where the SSE component is in its initial state (SDM vol. 1, 13.8.1).
  constexpr u32 initial_mxcsr = 0x1f80;
  constexpr std::size_t mxcsr_offset = 24;
  std::memcpy(frame.extended() + mxcsr_offset, &initial_mxcsr, sizeof initial_mxcsr);
  set_context(frame, t);
}

/// What the kernel begins every program with where there are protection keys (arch/x86/mm/pkeys.c):
/// where there are none, nothing is lost with it.
inline bool is_initial_pkru(bytes raw) {
  constexpr u32 initial = 0x55555554;
  return raw.size() >= sizeof initial && std::memcmp(raw.data(), &initial, sizeof initial) == 0;
}

/// Puts one saved component at this machine's place for it.
// Context: agent, in restored memory
inline result<void> add_component(signal_frame& frame, u32 component, bytes raw) {
  u64 in_use = 0;
  std::memcpy(&in_use, frame.extended() + sys::abi::fxsave_size, sizeof in_use);
  if (component == 0) {
    // Up to fpx_sw_offset: the reserved bytes behind it are the kernel's.
    if (raw.size() != sys::abi::fxsave_size) return errc::malformed;
    std::memcpy(frame.extended(), raw.data(), sys::abi::fpx_sw_offset);
    in_use |= 3;
  } else {
    // Supervisor components, which are the kernel's own, have no place in the standard format.
    constexpr u32 first_place = sys::abi::fxsave_size + sys::abi::xsave_header_size;
    if (component < 2 || component > 62) return errc::malformed;
    const auto place = frame.layout().places[component];
    if (place.size == 0 && component == 9 && is_initial_pkru(raw)) return {};
    if (place.size == 0 || place.offset < first_place || raw.size() != place.size ||
        (frame.layout().permitted >> component & 1) == 0)
      return errc::malformed;
    std::memcpy(frame.extended() + place.offset, raw.data(), raw.size());
    in_use |= u64{1} << component;
  }
  std::memcpy(frame.extended() + sys::abi::fxsave_size, &in_use, sizeof in_use);
  return {};
}

/// rt_sigreturn leaves NT and ID as it finds them: whoever enters it sets them before.
[[nodiscard]] inline u64 flags_beside_frame(const signal_frame& frame) {
  constexpr u64 nested_task = 1 << 14, identification = 1 << 21;
  return frame.context().uc_mcontext.eflags & (nested_task | identification);
}

// Context: agent, last of all
[[noreturn]] inline void enter(const signal_frame& frame) {
  __asm__ volatile(
      "movq %0, %%rsp\n\tpushfq\n\torq %2, (%%rsp)\n\tpopfq\n\t"
      "movl $%c1, %%eax\n\tsyscall\n\thlt"
      :
      : "r"(frame.stack_pointer()), "i"(__NR_rt_sigreturn), "r"(flags_beside_frame(frame))
      : "memory");
  __builtin_unreachable();
}

}  // namespace ckpt::state
