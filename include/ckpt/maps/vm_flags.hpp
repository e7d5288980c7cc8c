// SPDX-License-Identifier: MIT
//
// What the VmFlags line of /proc/PID/smaps says about a mapping and /proc/PID/maps does not.
// The kernel's own bit numbers differ between versions and are never shown, so the set has bit
// values of its own. They are written into images: a new flag takes the next free bit, and no bit
// changes its meaning.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::maps {

/// One per mnemonic of show_smap_vma_flags in Linux's fs/proc/task_mmu.c.
enum class vm_flag : u64 {
  readable = u64{1} << 0,               // rd
  writable = u64{1} << 1,               // wr
  executable = u64{1} << 2,             // ex
  shared = u64{1} << 3,                 // sh
  may_read = u64{1} << 4,               // mr
  may_write = u64{1} << 5,              // mw
  may_execute = u64{1} << 6,            // me
  may_share = u64{1} << 7,              // ms
  grows_down = u64{1} << 8,             // gd
  pure_pfn = u64{1} << 9,               // pf
  deny_write = u64{1} << 10,            // dw, until 5.15
  locked = u64{1} << 11,                // lo
  io = u64{1} << 12,                    // io
  sequential_read = u64{1} << 13,       // sr
  random_read = u64{1} << 14,           // rr
  dont_copy = u64{1} << 15,             // dc
  dont_expand = u64{1} << 16,           // de
  accountable = u64{1} << 17,           // ac
  no_reserve = u64{1} << 18,            // nr
  huge_tlb = u64{1} << 19,              // ht
  synchronous_fault = u64{1} << 20,     // sf
  architecture_bit = u64{1} << 21,      // ar
  wipe_on_fork = u64{1} << 22,          // wf
  dont_dump = u64{1} << 23,             // dd
  branch_target = u64{1} << 24,         // bt, arm64
  soft_dirty = u64{1} << 25,            // sd
  mixed_map = u64{1} << 26,             // mm
  huge_page = u64{1} << 27,             // hg
  no_huge_page = u64{1} << 28,          // nh
  mergeable = u64{1} << 29,             // mg
  userfault_missing = u64{1} << 30,     // um
  userfault_protect = u64{1} << 31,     // uw
  memory_tagging = u64{1} << 32,        // mt, arm64
  userfault_minor = u64{1} << 33,       // ui
  shadow_stack = u64{1} << 34,          // ss
  sealed = u64{1} << 35,                // sl
  lock_on_fault = u64{1} << 36,         // lf
  droppable = u64{1} << 37,             // dp
  maybe_guard = u64{1} << 38,           // gu
  userfault_read_write = u64{1} << 39,  // ur
  memory_protection = u64{1} << 40,     // mp, MPX until 5.6
  unknown = u64{1} << 63,               // a mnemonic that is none of these
};

struct vm_flag_mnemonic {
  vm_flag flag;
  std::string_view letters;
};

inline constexpr vm_flag_mnemonic vm_flag_mnemonics[] = {
    {vm_flag::readable, "rd"},
    {vm_flag::writable, "wr"},
    {vm_flag::executable, "ex"},
    {vm_flag::shared, "sh"},
    {vm_flag::may_read, "mr"},
    {vm_flag::may_write, "mw"},
    {vm_flag::may_execute, "me"},
    {vm_flag::may_share, "ms"},
    {vm_flag::grows_down, "gd"},
    {vm_flag::pure_pfn, "pf"},
    {vm_flag::deny_write, "dw"},
    {vm_flag::locked, "lo"},
    {vm_flag::io, "io"},
    {vm_flag::sequential_read, "sr"},
    {vm_flag::random_read, "rr"},
    {vm_flag::dont_copy, "dc"},
    {vm_flag::dont_expand, "de"},
    {vm_flag::accountable, "ac"},
    {vm_flag::no_reserve, "nr"},
    {vm_flag::huge_tlb, "ht"},
    {vm_flag::synchronous_fault, "sf"},
    {vm_flag::architecture_bit, "ar"},
    {vm_flag::wipe_on_fork, "wf"},
    {vm_flag::dont_dump, "dd"},
    {vm_flag::branch_target, "bt"},
    {vm_flag::soft_dirty, "sd"},
    {vm_flag::mixed_map, "mm"},
    {vm_flag::huge_page, "hg"},
    {vm_flag::no_huge_page, "nh"},
    {vm_flag::mergeable, "mg"},
    {vm_flag::userfault_missing, "um"},
    {vm_flag::userfault_protect, "uw"},
    {vm_flag::memory_tagging, "mt"},
    {vm_flag::userfault_minor, "ui"},
    {vm_flag::shadow_stack, "ss"},
    {vm_flag::sealed, "sl"},
    {vm_flag::lock_on_fault, "lf"},
    {vm_flag::droppable, "dp"},
    {vm_flag::maybe_guard, "gu"},
    {vm_flag::userfault_read_write, "ur"},
    {vm_flag::memory_protection, "mp"},
};

/// The kernel's two letters; "??" for unknown, as the kernel itself writes it.
[[nodiscard]] constexpr std::string_view mnemonic(vm_flag flag) {
  for (const auto& known : vm_flag_mnemonics)
    if (known.flag == flag) return known.letters;
  return "??";
}

/// vm_flag::unknown for letters that no flag has.
[[nodiscard]] constexpr vm_flag flag_of(std::string_view letters) {
  for (const auto& known : vm_flag_mnemonics)
    if (known.letters == letters) return known.flag;
  return vm_flag::unknown;
}

class vm_flags {
 public:
  constexpr vm_flags() = default;
  constexpr vm_flags(vm_flag flag) : bits_(static_cast<u64>(flag)) {}

  [[nodiscard]] static constexpr vm_flags from_bits(u64 bits) {
    vm_flags flags;
    flags.bits_ = bits;
    return flags;
  }
  [[nodiscard]] constexpr u64 bits() const { return bits_; }

  [[nodiscard]] constexpr bool has(vm_flag flag) const {
    return (bits_ & static_cast<u64>(flag)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  constexpr vm_flags& operator|=(vm_flags other) {
    bits_ |= other.bits_;
    return *this;
  }
  [[nodiscard]] friend constexpr vm_flags operator|(vm_flags a, vm_flags b) { return a |= b; }
  constexpr bool operator==(const vm_flags&) const = default;

 private:
  u64 bits_ = 0;
};
[[nodiscard]] constexpr vm_flags operator|(vm_flag a, vm_flag b) {
  return vm_flags(a) | vm_flags(b);
}

/// Every bit that this version gives a meaning; an image with others comes from a newer one.
inline constexpr vm_flags every_vm_flag = [] {
  vm_flags all = vm_flag::unknown;
  for (const auto& known : vm_flag_mnemonics) all |= known.flag;
  return all;
}();

}  // namespace ckpt::maps
