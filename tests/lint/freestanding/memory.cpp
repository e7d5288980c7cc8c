// SPDX-License-Identifier: MIT
//
// The functions that a compiler may call without being asked to, and nothing else of a libc.
#include <cstddef>

extern "C" {

void* memcpy(void* to, const void* from, std::size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  const auto* f = static_cast<const unsigned char*>(from);
  for (std::size_t i = 0; i < n; ++i) t[i] = f[i];
  return to;
}

void* memmove(void* to, const void* from, std::size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  const auto* f = static_cast<const unsigned char*>(from);
  if (t < f)
    for (std::size_t i = 0; i < n; ++i) t[i] = f[i];
  else
    for (std::size_t i = n; i > 0; --i) t[i - 1] = f[i - 1];
  return to;
}

void* memset(void* to, int value, std::size_t n) {
  auto* t = static_cast<unsigned char*>(to);
  for (std::size_t i = 0; i < n; ++i) t[i] = static_cast<unsigned char>(value);
  return to;
}

int memcmp(const void* a, const void* b, std::size_t n) {
  const auto* x = static_cast<const unsigned char*>(a);
  const auto* y = static_cast<const unsigned char*>(b);
  for (std::size_t i = 0; i < n; ++i)
    if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
  return 0;
}

void* memchr(const void* in, int value, std::size_t n) {
  const auto* p = static_cast<const unsigned char*>(in);
  for (std::size_t i = 0; i < n; ++i)
    if (p[i] == static_cast<unsigned char>(value)) return const_cast<unsigned char*>(p + i);
  return nullptr;
}

std::size_t strlen(const char* text) {
  std::size_t n = 0;
  while (text[n] != '\0') ++n;
  return n;
}

}  // extern "C"
