// SPDX-License-Identifier: MIT
//
// What a mapping has beside its bytes and its protection: a name, guard pages, advice, locks, a
// seal. They are put back in this order, because a seal holds off all the rest.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/maps/vm_flags.hpp"
#include "ckpt/state/segment.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::state {

/// PR_SET_VMA_ANON_NAME of prctl(2); maps shows it as [anon:NAME] or [anon_shmem:NAME].
// Context: any, no libc
inline void set_name(const segment& s, std::string_view shown) {
  if (!shown.starts_with("[anon") || !shown.ends_with(']')) return;
  const auto colon = shown.find(':');
  if (colon == std::string_view::npos) return;
  fixed_text<256> name;
  name.append(shown.substr(colon + 1, shown.size() - colon - 2));
  (void)sys::prctl(sys::abi::pr_set_vma, sys::abi::pr_set_vma_anon_name, s.address.get(),
                   s.length.get(), name.c_str());
}

/// A kernel without guards keeps the program from touching the pages by their protection.
// Context: any, no libc
inline result<void> install_guard(const trap_range& t, report& why) {
  for (;;) {
    const auto done = sys::madvise(t.address, t.length, sys::abi::madv_guard_install);
    if (done.ok()) return {};
    if (done.error() == errc::interrupted) continue;
    if (sys::mprotect(t.address, t.length, sys::abi::prot_none).ok()) return {};
    return why.explain(done.error(), "cannot make the guard pages ",
                       address_range{t.address, t.address + t.length}, " again");
  }
}

/// False when memory that the program had locked is not: RLIMIT_MEMLOCK is lower here.
// Context: any, no libc
[[nodiscard]] inline bool advise(const segment& s) {
  static constexpr struct {
    maps::vm_flag flag;
    int advice;
  } advices[] = {{maps::vm_flag::dont_copy, sys::abi::madv_dontfork},
                 {maps::vm_flag::wipe_on_fork, sys::abi::madv_wipeonfork},
                 {maps::vm_flag::dont_dump, sys::abi::madv_dontdump},
                 {maps::vm_flag::mergeable, sys::abi::madv_mergeable},
                 {maps::vm_flag::sequential_read, sys::abi::madv_sequential},
                 {maps::vm_flag::random_read, sys::abi::madv_random}};
  const auto flags = maps::vm_flags::from_bits(s.vm_flags);
  for (const auto& a : advices)
    if (flags.has(a.flag)) (void)sys::madvise(s.address, s.length, a.advice);
  if (!flags.has(maps::vm_flag::locked)) return true;
  const int on_fault = flags.has(maps::vm_flag::lock_on_fault) ? sys::abi::mlock_onfault : 0;
  // ENOMEM is the limit, or pages that cannot be brought in: those are locked all the same.
  const auto r = sys::mlock2(s.address, s.length, on_fault);
  if (r.error() == errc::perm || r.error() == errc::again) return false;
  return r.error() != errc::no_memory || s.kind == segment_kind::shared ||
         !s.protection.has(protection::read);
}

// Context: any, no libc
inline result<void> seal(const segment& s, report& why) {
  if (!maps::vm_flags::from_bits(s.vm_flags).has(maps::vm_flag::sealed)) return {};
  if (auto r = sys::mseal(s.address, s.length); !r.ok())
    return why.explain(r.error(), "cannot seal ", address_range{s.address, s.address + s.length},
                       " as the program had it (mseal(2), since Linux 6.10)");
  return {};
}

}  // namespace ckpt::state
