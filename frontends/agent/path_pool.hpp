// SPDX-License-Identifier: MIT
//
// Memory of the program's own malloc for paths that ckpt_fds hands out, which functions of the
// program may free and replace. It is taken in ordinary context and only passed around in a
// checkpoint: malloc is not for signal handlers.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/base/types.hpp"

/// Null in a program without a libc, and where nobody lends the library the program's.
extern "C" [[gnu::weak]] void* malloc(decltype(sizeof 0) size);

namespace ckpt::agent {

class path_pool {
 public:
  static constexpr u32 capacity = 1024;
  static constexpr u64 short_path = 256, longest_path = 4097;
  static constexpr u32 long_ones = 8;

  /// So that `wanted` paths can be handed out.
  // Context: program, ordinary
  void fill(u32 wanted) {
    auto* const get = &malloc;
    if (get == nullptr) return;
    u32 there = 0, there_long = 0;
    for (const u64& slot : slots_) {
      const u64 now = __atomic_load_n(&slot, __ATOMIC_ACQUIRE);
      if (now == 0) continue;
      ++there;
      if (size_of(now) >= longest_path) ++there_long;
    }
    for (; there < wanted + long_ones && there < capacity; ++there) {
      const u64 size = there_long++ < long_ones ? longest_path : short_path;
      void* const made = get(size);
      if (made == nullptr) return;
      give(static_cast<char*>(made), size);
    }
  }

  /// A copy in the smallest that it fits into; null when there is none.
  // Context: triggering thread, with the agent's lock
  char* take(std::string_view text) {
    u64* best = nullptr;
    u64 found = 0;
    for (u64& slot : slots_) {
      const u64 now = __atomic_load_n(&slot, __ATOMIC_ACQUIRE);
      if (now == 0 || size_of(now) <= text.size() || (best != nullptr && now >= found)) continue;
      best = &slot;
      found = now;
    }
    if (best == nullptr) return nullptr;
    __atomic_store_n(best, u64{0}, __ATOMIC_RELEASE);
    char* const at = reinterpret_cast<char*>(found & address_mask);
    __builtin_memcpy(at, text.data(), text.size());
    at[text.size()] = '\0';
    return at;
  }

  /// Memory of malloc, of which `size` bytes are known to be there. Whatever there is no slot for is
  /// lost to the program: nobody may free it here.
  // Context: any, no libc
  void give(char* at, u64 size) {
    const u64 address = reinterpret_cast<u64>(at);
    if ((address & ~address_mask) != 0) return;
    const u64 entry = address | size << address_bits;
    for (u64& slot : slots_) {
      u64 free = 0;
      if (__atomic_compare_exchange_n(&slot, &free, entry, false, __ATOMIC_ACQ_REL,
                                      __ATOMIC_RELAXED))
        return;
    }
  }

 private:
  // A word each, so that nobody sees an address with another's size: the size is above the address,
  // which makes the smallest word the smallest memory.
  static constexpr u64 address_bits = 48;
  static constexpr u64 address_mask = (u64{1} << address_bits) - 1;
  static u64 size_of(u64 slot) { return slot >> address_bits; }

  u64 slots_[capacity] = {};
};

}  // namespace ckpt::agent
