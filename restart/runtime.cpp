// SPDX-License-Identifier: MIT
//
// What compilers and the standard headers call by name. Shared by the restarter and the agent,
// hidden in both, so that neither needs nor offers a libc.

#include <stddef.h>
#include <stdint.h>

extern "C" {

__attribute__((visibility("hidden"))) void* memcpy(void* to, const void* from, size_t n) {
  void* d = to;
  __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
  return to;
}

__attribute__((visibility("hidden"))) void* memset(void* to, int value, size_t n) {
  void* d = to;
  __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(value) : "memory");
  return to;
}

__attribute__((visibility("hidden"))) void* memmove(void* to, const void* from, size_t n) {
  auto* d = static_cast<unsigned char*>(to);
  auto* s = static_cast<const unsigned char*>(from);
  if (reinterpret_cast<uintptr_t>(d) - reinterpret_cast<uintptr_t>(s) >= n)
    return memcpy(to, from, n);
  d += n - 1;
  s += n - 1;
  __asm__ volatile("std\n\trep movsb\n\tcld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
  return to;
}

__attribute__((visibility("hidden"))) int memcmp(const void* a, const void* b, size_t n) {
  auto* x = static_cast<const unsigned char*>(a);
  auto* y = static_cast<const unsigned char*>(b);
  for (; n > 0; --n, ++x, ++y)
    if (*x != *y) return *x < *y ? -1 : 1;
  return 0;
}

__attribute__((visibility("hidden"))) void* memchr(const void* where, int value, size_t n) {
  auto* s = static_cast<const unsigned char*>(where);
  for (; n > 0; --n, ++s)
    if (*s == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(s);
  return nullptr;
}

__attribute__((visibility("hidden"))) size_t strlen(const char* s) {
  size_t n = 0;
  while (s[n] != '\0') ++n;
  return n;
}
}

// string_view::substr beyond the end: a mistake of ours, never of an input's.
namespace std {
[[gnu::visibility("hidden")]] void __throw_out_of_range_fmt(const char*, ...) { __builtin_trap(); }
}  // namespace std
