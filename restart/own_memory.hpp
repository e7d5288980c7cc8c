// SPDX-License-Identifier: MIT
//
// The process that a restart begins in: the layout that the kernel gives it, and all that goes away from it.
#pragma once

#include "ckpt/image/window.hpp"
#include "ckpt/state/limits.hpp"
#include "work.hpp"

namespace ckpt::restart {
namespace {

/// The kernel lays out a process by its stack limit and personality. With the saved ones, every
/// stack the program may have had lies above every new mapping, with room to grow. A limit of a few
/// pages, which a program may set itself when it runs, would leave no stack for this one; the kernel
/// keeps 128 MiB free whatever is less (mmap_base, arch/x86/mm/mmap.c).
void match_layout(bytes metadata) {
  constexpr u64 own_stack = u64{1} << 20;
  if (!global.restart_again_possible) return;
  bool again = false;
  image::for_each<state::resource_limit>(metadata, [&](const state::resource_limit& l, bytes) {
    if (l.resource != static_cast<u32>(sys::abi::rlimit_stack)) return;
    sys::abi::rlimit64 now{};
    if (!sys::prlimit64(sys::abi::rlimit_stack, nullptr, &now).ok()) return;
    const u64 soft = l.soft;
    const sys::abi::rlimit64 wanted{soft < own_stack ? own_stack : soft, now.hard};
    if (now.soft == wanted.soft) return;
    if (wanted.soft <= now.hard && sys::prlimit64(sys::abi::rlimit_stack, &wanted, nullptr).ok())
      again = true;
  });
  // An execve takes READ_IMPLIES_EXEC away, so to ask for it here would never end.
  const u32 saved = image::first<state::process>(metadata).personality;
  const u32 wanted = saved & ~sys::abi::read_implies_exec;
  const auto persona = sys::personality(sys::abi::personality_query);
  if (persona.ok() && *persona != wanted && sys::personality(wanted).ok()) {
    const auto set = sys::personality(sys::abi::personality_query);
    again = again || (set.ok() && *set == wanted);
  }
  if (again) (void)sys::execve("/proc/self/exe", global.argv, global.envp);
}

/// Everything but the window and the vDSO goes; the vDSO waits in the window.
void clear_address_space(const image::window_layout& window) {
  auto& own = global.own;
  require(own.read(), "cannot read /proc/self/maps (is /proc mounted?)");
  global.vdso = vdso_group::find(own);
  for (u32 i = 0; i < own.count; ++i) {
    const auto& e = own.entries[i];
    if (e.kind == maps::special::vvar || e.kind == maps::special::vdso ||
        e.kind == maps::special::vsyscall)
      continue;
    // Parts of the window are mapped; keep exactly them.
    const range below = e.where.intersect({0, window.whole.begin});
    const range above = e.where.intersect({window.whole.end, ~u64{0}});
    for (const range r : {below, above})
      if (!r.empty() && e.kind != maps::special::uprobes)
        require(sys::munmap(r.begin, r.length()), "cannot unmap");
  }
  if (global.vdso.whole.length() > window.vdso.length()) {
    (void)global.why.refuse("the kernel's vDSO is larger than the image has room for");
    fail();
  }
  if (global.vdso.count > 0) {
    (void)sys::munmap(window.vdso.begin, window.vdso.length());
    require(global.vdso.move_to(window.vdso.begin),
            "cannot move the vDSO (a kernel that seals it?)");
  }
}

}  // namespace
}  // namespace ckpt::restart
