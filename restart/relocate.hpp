// SPDX-License-Identifier: MIT
//
// The restarter's own place: it runs wherever its bytes are, once the few absolute addresses in
// its data have been set for that place. Relocations carry their addends (RELA, psABI), so this
// can be done again after each copy.
#pragma once

#include "ckpt/base/types.hpp"

extern "C" {
[[gnu::visibility("hidden")]] extern const char __ehdr_start[];
[[gnu::visibility("hidden")]] extern const char __data_start[];
[[gnu::visibility("hidden")]] extern const char __restarter_end[];
[[gnu::visibility("hidden")]] extern const char __rela_start[];
[[gnu::visibility("hidden")]] extern const char __rela_end[];
[[gnu::visibility("hidden")]] void run_on_stack(ckpt::u64 stack_top, void (*function)(void*),
                                                void* argument);
}

namespace ckpt::restart {

inline u64 restarter_base() { return reinterpret_cast<u64>(__ehdr_start); }
inline u64 restarter_size() {
  return reinterpret_cast<u64>(__restarter_end) - reinterpret_cast<u64>(__ehdr_start);
}
inline u64 restarter_text_size() {
  return reinterpret_cast<u64>(__data_start) - reinterpret_cast<u64>(__ehdr_start);
}

/// At the head of an image the restarter is an ELF file for one address; the command is one for
/// any. The image's own header may be what is damaged, so it is not asked.
inline bool is_head_of_image() {
  constexpr u64 type_offset = 16;  // e_type
  constexpr u16 et_exec = 2;
  u16 type = 0;
  __builtin_memcpy(&type, __ehdr_start + type_offset, sizeof type);
  return type == et_exec;
}

/// Sets the absolute addresses of the copy at `base`. Uses none itself.
inline void relocate(u64 base) {
  struct rela {
    u64 offset, info, addend;
  };
  const auto* r = reinterpret_cast<const rela*>(__rela_start);
  const auto* end = reinterpret_cast<const rela*>(__rela_end);
  for (; r != end; ++r)
    if ((r->info & 0xffffffff) == 8)  // R_X86_64_RELATIVE
      *reinterpret_cast<u64*>(base + r->offset) = base + r->addend;
}

}  // namespace ckpt::restart
