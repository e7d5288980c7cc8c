// SPDX-License-Identifier: MIT
//
// The restarter's own place: it runs wherever its bytes are, once the few absolute addresses in
// its data have been set for that place. Relocations carry their addends (RELA, psABI), so this
// can be done again after each copy.
#pragma once

#include "ckpt/base/types.hpp"
#include "ckpt/format/header.hpp"

extern "C" {
[[gnu::visibility("hidden")]] extern const char __ehdr_start[];
[[gnu::visibility("hidden")]] extern const char __image_header[];
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

/// An image has its header in the room that the linker script leaves; ckpt-restart has zeros.
inline bool has_image_header() {
  format::magic found;
  __builtin_memcpy(&found, __image_header, sizeof found);
  return found == format::image_magic;
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
