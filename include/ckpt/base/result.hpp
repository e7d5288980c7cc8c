// SPDX-License-Identifier: MIT
//
// Errors as values: errc is a positive errno or a code of ours, result<T> a value or an errc.
// There are no exceptions below the hosted tools, because the same code runs in a signal handler
// and in a program without a libc. Reading the wrong half of a result traps.
#pragma once

#include <new>
#include <type_traits>
#include <utility>

namespace ckpt {

/// A positive errno(3) value, or one of ckpt's own codes, which start above every errno.
enum class [[nodiscard]] errc : int {
  none = 0,
  // Linux errno values that the code looks at by name (asm-generic/errno*.h).
  perm = 1,
  no_entry = 2,
  no_process = 3,
  interrupted = 4,
  io = 5,
  again = 11,
  no_memory = 12,
  access = 13,
  fault = 14,
  busy = 16,
  exists = 17,
  invalid = 22,
  too_many_files_here = 23,  // ENFILE
  too_many_files = 24,       // EMFILE
  no_space = 28,
  range = 34,
  no_system_call = 38,
  // ckpt's own.
  refused = 5000,      // a report holds the line that says why
  end_of_input,        // fewer bytes than the structure needs
  malformed,           // bytes that no writer of this format produces
  buffer_too_small,    // the caller's buffer cannot hold the item
  overflow,            // address or length arithmetic wrapped
  checksum_mismatch,   // the bytes changed since they were written
  unsupported_version, // a newer format
  gone,                // the process under observation has died
  not_found,
};

[[nodiscard]] constexpr bool is_errno(errc e) {
  return static_cast<int>(e) > 0 && static_cast<int>(e) < 4096;
}

template <class T>
class [[nodiscard]] result {
  static_assert(std::is_trivially_destructible_v<T>, "results cross code that never unwinds");

 public:
  constexpr result(T value) : value_(std::move(value)), error_(errc::none) {}
  constexpr result(errc error) : none_(0), error_(error) {
    if (error == errc::none) __builtin_trap();
  }

  [[nodiscard]] constexpr bool ok() const { return error_ == errc::none; }
  [[nodiscard]] constexpr explicit operator bool() const { return ok(); }

  constexpr T& value() {
    if (!ok()) __builtin_trap();
    return value_;
  }
  constexpr const T& value() const {
    if (!ok()) __builtin_trap();
    return value_;
  }
  [[nodiscard]] constexpr T value_or(T fallback) const { return ok() ? value_ : fallback; }
  constexpr errc error() const { return error_; }

  constexpr T& operator*() { return value(); }
  constexpr const T& operator*() const { return value(); }
  constexpr T* operator->() { return &value(); }
  constexpr const T* operator->() const { return &value(); }

 private:
  union {
    T value_;
    char none_;
  };
  errc error_;
};

template <>
class [[nodiscard]] result<void> {
 public:
  constexpr result() : error_(errc::none) {}
  constexpr result(errc error) : error_(error) {}

  [[nodiscard]] constexpr bool ok() const { return error_ == errc::none; }
  [[nodiscard]] constexpr explicit operator bool() const { return ok(); }
  constexpr void value() const {
    if (!ok()) __builtin_trap();
  }
  constexpr errc error() const { return error_; }

 private:
  errc error_;
};

}  // namespace ckpt

// Evaluates to the value of a result, or returns its error from the enclosing function.
// A statement expression, because no language feature returns early (SerenityOS's TRY).
#define CKPT_TRY(...) CKPT_TRY_NAMED(CKPT_TRY_JOIN(ckpt_try_, __COUNTER__), __VA_ARGS__)
// A name of its own for each use: one may stand in the arguments of another.
#define CKPT_TRY_JOIN(a, b) CKPT_TRY_JOIN_AGAIN(a, b)
#define CKPT_TRY_JOIN_AGAIN(a, b) a##b
#define CKPT_TRY_NAMED(name, ...)            \
  __extension__({                            \
    auto name = (__VA_ARGS__);               \
    if (!name.ok()) [[unlikely]]             \
      return name.error();                   \
    name.value();                            \
  })
