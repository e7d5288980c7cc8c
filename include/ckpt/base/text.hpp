// SPDX-License-Identifier: MIT
//
// Text without a libc: a fixed buffer that formats numbers, and the way a user-visible line is
// put together from parts. Overlong lines are cut at the end, never refused: a line that explains
// a failure must come out.
#pragma once

#include <concepts>
#include <type_traits>

#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"

namespace ckpt {

struct hex {
  u64 value;
};

/// A path or name from outside: control characters come out as \ooo, so that a hostile name
/// cannot forge a second line or move the cursor.
struct quoted {
  std::string_view name;
};

/// An address range as /proc/PID/maps writes it.
struct address_range {
  u64 begin;
  u64 end;
};

[[nodiscard]] constexpr std::string_view describe(errc error) {
  switch (static_cast<int>(error)) {
    case 1: return "operation not permitted";
    case 2: return "no such file or directory";
    case 3: return "no such process";
    case 4: return "interrupted";
    case 5: return "input/output error";
    case 7: return "argument list too long";
    case 8: return "exec format error";
    case 9: return "bad file descriptor";
    case 11: return "resource temporarily unavailable";
    case 12: return "cannot allocate memory";
    case 13: return "permission denied";
    case 14: return "bad address";
    case 16: return "device or resource busy";
    case 17: return "file exists";
    case 20: return "not a directory";
    case 21: return "is a directory";
    case 22: return "invalid argument";
    case 23: return "too many open files in system";
    case 24: return "too many open files";
    case 26: return "text file busy";
    case 27: return "file too large (RLIMIT_FSIZE or the file system's limit)";
    case 28: return "no space left on device";
    case 30: return "read-only file system";
    case 32: return "broken pipe";
    case 36: return "file name too long";
    case 38: return "system call not implemented";
    case 40: return "too many levels of symbolic links";
    case 122: return "disk quota exceeded";
    case static_cast<int>(errc::end_of_input): return "the file ends too early";
    case static_cast<int>(errc::malformed): return "malformed";
    case static_cast<int>(errc::buffer_too_small): return "does not fit";
    case static_cast<int>(errc::overflow): return "an address or length wraps around";
    case static_cast<int>(errc::checksum_mismatch): return "checksum mismatch";
    case static_cast<int>(errc::unsupported_version): return "a newer format version";
    case static_cast<int>(errc::gone): return "the process has died";
    case static_cast<int>(errc::not_found): return "not found";
    case static_cast<int>(errc::refused): return "refused";
    default: return {};
  }
}

template <std::size_t Capacity>
class fixed_text {
 public:
  constexpr fixed_text() = default;

  constexpr void clear() {
    size_ = 0;
    truncated_ = false;
  }
  [[nodiscard]] constexpr std::string_view view() const { return {data_, size_}; }
  [[nodiscard]] constexpr bool truncated() const { return truncated_; }
  [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
  /// Terminated in place; always valid because one byte is kept back.
  [[nodiscard]] constexpr const char* c_str() {
    data_[size_] = '\0';
    return data_;
  }

  constexpr fixed_text& append(char c) {
    if (size_ + 1 < Capacity)
      data_[size_++] = c;
    else
      truncated_ = true;
    return *this;
  }
  constexpr fixed_text& append(std::string_view text) {
    for (char c : text) append(c);
    return *this;
  }
  constexpr fixed_text& append(const char* text) { return append(std::string_view(text)); }
  template <std::integral T>
    requires(!std::same_as<T, char> && !std::same_as<T, bool>)
  constexpr fixed_text& append(T number) {
    u64 magnitude = static_cast<u64>(number);
    if constexpr (std::is_signed_v<T>) {
      if (number < 0) {
        append('-');
        magnitude = u64{0} - static_cast<u64>(static_cast<i64>(number));
      }
    }
    return digits(magnitude, 10);
  }
  constexpr fixed_text& append(hex h) { return digits(h.value, 16); }
  constexpr fixed_text& append(address_range r) {
    return append(hex{r.begin}).append('-').append(hex{r.end});
  }
  constexpr fixed_text& append(quoted q) {
    for (char c : q.name) {
      const u8 code = static_cast<u8>(c);
      if (code < 0x20 || code == 0x7f)
        append('\\').append(char('0' + (code >> 6))).append(char('0' + ((code >> 3) & 7))).append(
            char('0' + (code & 7)));
      else
        append(c);
    }
    return *this;
  }
  constexpr fixed_text& append(errc error) {
    if (const auto text = describe(error); !text.empty()) return append(text);
    return append("error ").append(static_cast<int>(error));
  }

 private:
  constexpr fixed_text& digits(u64 value, unsigned base) {
    char reversed[20] = {};
    unsigned n = 0;
    do {
      reversed[n++] = "0123456789abcdef"[value % base];
      value /= base;
    } while (value != 0);
    while (n > 0) append(reversed[--n]);
    return *this;
  }

  std::size_t size_ = 0;
  bool truncated_ = false;
  char data_[Capacity] = {};
};

/// The one line that says why something is not done: what, which, why, and the cure.
/// refuse() returns errc::refused, so that `return report.refuse(...)` ends the work.
class report {
 public:
  template <class... Parts>
  errc refuse(const Parts&... parts) {
    line_.clear();
    (line_.append(parts), ...);
    return errc::refused;
  }
  /// Keeps an explanation already given, otherwise explains a bare error.
  template <class... Parts>
  errc explain(errc error, const Parts&... parts) {
    if (error == errc::refused && !line_.empty()) return error;
    line_.clear();
    (line_.append(parts), ...);
    line_.append(": ").append(error);
    return errc::refused;
  }
  [[nodiscard]] std::string_view line() const { return line_.view(); }

 private:
  fixed_text<1400> line_;
};

/// A number without sign or prefix; the whole text must be one.
[[nodiscard]] constexpr result<u64> parse_number(std::string_view text, unsigned base = 10) {
  if (text.empty()) return errc::malformed;
  u64 value = 0;
  for (char c : text) {
    unsigned digit = 0;
    if (c >= '0' && c <= '9')
      digit = static_cast<unsigned>(c - '0');
    else if (c >= 'a' && c <= 'f')
      digit = static_cast<unsigned>(c - 'a') + 10;
    else if (c >= 'A' && c <= 'F')
      digit = static_cast<unsigned>(c - 'A') + 10;
    else
      return errc::malformed;
    if (digit >= base) return errc::malformed;
    if (__builtin_mul_overflow(value, u64{base}, &value) ||
        __builtin_add_overflow(value, u64{digit}, &value))
      return errc::overflow;
  }
  return value;
}

}  // namespace ckpt
