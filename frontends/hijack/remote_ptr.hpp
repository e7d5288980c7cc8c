// SPDX-License-Identifier: MIT
//
// An address in another process. It has the arithmetic of a pointer and cannot be dereferenced, so
// nobody reads at home what lies abroad (the idea is rr's).
#pragma once

#include <compare>
#include <type_traits>

#include "ckpt/base/types.hpp"

namespace ckpt::hijack {

template <class T>
class remote_ptr {
 public:
  constexpr remote_ptr() = default;
  explicit constexpr remote_ptr(u64 address) : address_(address) {}

  [[nodiscard]] constexpr u64 address() const { return address_; }
  [[nodiscard]] constexpr bool null() const { return address_ == 0; }
  template <class U>
  [[nodiscard]] constexpr remote_ptr<U> as() const {
    return remote_ptr<U>(address_);
  }
  constexpr remote_ptr operator+(u64 count) const { return remote_ptr(address_ + count * size()); }
  constexpr remote_ptr operator-(u64 count) const { return remote_ptr(address_ - count * size()); }
  constexpr auto operator<=>(const remote_ptr&) const = default;

 private:
  static constexpr u64 size() {
    if constexpr (std::is_void_v<T>)
      return 1;
    else
      return sizeof(T);
  }

  u64 address_ = 0;
};

/// Bytes of no type in particular; arithmetic in bytes.
using remote_address = remote_ptr<void>;

}  // namespace ckpt::hijack
