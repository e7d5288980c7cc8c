// SPDX-License-Identifier: MIT
//
// /proc/PID/maps and /proc/PID/smaps, pushed in pieces of any size. A path in these files may be
// longer than any buffer that a signal handler or a restarter can afford, so nothing of it is
// stored: numbers are built digit by digit and names are handed on as they pass by.
//
// Lines, as fs/proc/task_mmu.c writes them:
//   7f0eef0dd000-7f0eef0df000 rw-p 00033000 fe:00 332383        /usr/lib/.../ld-linux-x86-64.so.2
//   AnonHugePages:         0 kB
//   VmFlags: rd wr mr mw me ac
// Addresses are lower-case hexadecimal and attributes have a key with a colon, so the first
// character says which of the two a line is.
#pragma once

#include <concepts>

#include "ckpt/base/range.hpp"
#include "ckpt/base/result.hpp"
#include "ckpt/base/types.hpp"
#include "ckpt/maps/device.hpp"
#include "ckpt/maps/vm_flags.hpp"
#include "ckpt/sys/abi.hpp"
#include "ckpt/sys/file.hpp"

namespace ckpt::maps {

struct mapping_head {
  range where;
  u32 protection = 0;  // abi::prot_*
  bool shared = false;
  u64 offset = 0;
  u64 device = 0;  // as st_dev
  u64 inode = 0;
  constexpr bool operator==(const mapping_head&) const = default;
};

/// Gets on_mapping, then the name in any number of pieces that may break anywhere (as in the file:
/// \012 for a newline, " (deleted)" kept; see name.hpp), then the attributes of smaps, then
/// on_mapping_end. An error returned from any of them ends the parse.
template <class H>
concept mapping_handler = requires(H& h, const mapping_head& head, std::string_view text,
                                   u64 kilobytes, vm_flags flags) {
  { h.on_mapping(head) } -> std::same_as<result<void>>;
  { h.on_name(text) } -> std::same_as<result<void>>;
  { h.on_kilobytes(text, kilobytes) } -> std::same_as<result<void>>;
  { h.on_flags(flags) } -> std::same_as<result<void>>;
  { h.on_mapping_end() } -> std::same_as<result<void>>;
};

/// A base for handlers that want only some of the events.
struct ignore_the_rest {
  static constexpr result<void> on_name(std::string_view) { return {}; }
  static constexpr result<void> on_kilobytes(std::string_view, u64) { return {}; }
  static constexpr result<void> on_flags(vm_flags) { return {}; }
  static constexpr result<void> on_mapping_end() { return {}; }
};

/// A mapping line that the kernel would not write is errc::malformed. Attributes are another
/// matter: kernels add new ones, so whatever is not `Key: 123 kB` or VmFlags is passed over.
/// After an error every further call returns the same error.
/// Context: any, no libc.
template <mapping_handler H>
class parser {
 public:
  constexpr explicit parser(H& handler) : handler_(handler) {}

  constexpr result<void> feed(std::string_view text) {
    if (failure_ != errc::none) return failure_;
    while (!text.empty()) {
      std::size_t used = 1;
      result<void> outcome;
      if (state_ == state::before_name && text[0] != ' ' && text[0] != '\n') state_ = state::name;
      if (state_ == state::name || state_ == state::skip) {
        const std::size_t left = line_length(text);
        if (left == 0) {
          state_ = state::line_start;
        } else {
          used = left;
          if (state_ == state::name) outcome = handler_.on_name({text.data(), left});
        }
      } else {
        outcome = take(text[0]);
      }
      if (!outcome.ok()) return fail(outcome.error());
      text.remove_prefix(used);
    }
    return {};
  }

  /// After the last byte. The kernel ends every line, so half a line means that bytes are missing.
  constexpr result<void> finish() {
    if (failure_ != errc::none) return failure_;
    if (state_ != state::line_start) return fail(errc::end_of_input);
    if (const result<void> outcome = close_mapping(); !outcome.ok()) return fail(outcome.error());
    return {};
  }

 private:
  enum class state : u8 {
    line_start,
    begin,
    end,
    permissions,
    offset,
    major,
    minor,
    inode,
    before_name,
    name,
    key,
    value,
    unit,
    flags,
    skip,  // the rest of a line that means nothing to us
  };

  static constexpr std::size_t line_length(std::string_view text) {
    std::size_t n = 0;
    while (n < text.size() && text[n] != '\n') ++n;
    return n;
  }

  constexpr errc fail(errc error) { return failure_ = error; }

  constexpr void start_number(state next) {
    state_ = next;
    number_ = 0;
    has_digits_ = false;
  }
  /// False when c is no digit or the number outgrows 64 bits.
  constexpr bool digit(char c, unsigned base) {
    unsigned value = 0;
    if (c >= '0' && c <= '9')
      value = static_cast<unsigned>(c - '0');
    else if (base == 16 && c >= 'a' && c <= 'f')
      value = static_cast<unsigned>(c - 'a') + 10;
    else
      return false;
    has_digits_ = true;
    return !__builtin_mul_overflow(number_, u64{base}, &number_) &&
           !__builtin_add_overflow(number_, u64{value}, &number_);
  }

  constexpr result<void> close_mapping() {
    if (!open_) return {};
    open_ = false;
    return handler_.on_mapping_end();
  }

  constexpr result<void> take(char c) {
    switch (state_) {
      case state::line_start:
        return take_first(c);
      case state::key:
        return take_key(c);
      case state::value:
        return take_value(c);
      case state::unit:
        return take_unit(c);
      case state::flags:
        return take_flags(c);
      case state::before_name:
        if (c == '\n') state_ = state::line_start;
        return {};
      default:
        return take_head(c);
    }
  }

  constexpr result<void> take_first(char c) {
    if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')) {
      CKPT_TRY(close_mapping());
      head_ = {};
      start_number(state::begin);
      (void)digit(c, 16);
      return {};
    }
    const bool letter = (c >= 'A' && c <= 'Z') || (c >= 'g' && c <= 'z');
    if (!letter || !open_) return errc::malformed;
    state_ = state::key;
    key_[0] = c;
    key_size_ = 1;
    return {};
  }

  constexpr result<void> take_head(char c) {
    if (state_ == state::permissions) return take_permission(c);
    if (digit(c, state_ == state::inode ? 10 : 16)) return {};
    if (!has_digits_) return errc::malformed;
    switch (state_) {
      case state::begin:
        if (c != '-') return errc::malformed;
        head_.where.begin = number_;
        start_number(state::end);
        return {};
      case state::end:
        head_.where.end = number_;
        if (c != ' ' || head_.where.empty()) return errc::malformed;
        state_ = state::permissions;
        column_ = 0;
        return {};
      case state::offset:
        if (c != ' ') return errc::malformed;
        head_.offset = number_;
        start_number(state::major);
        return {};
      case state::major:
        if (c != ':' || number_ > ~u32{0}) return errc::malformed;
        major_ = number_;
        start_number(state::minor);
        return {};
      case state::minor:
        if (c != ' ' || number_ > ~u32{0}) return errc::malformed;
        head_.device = device_number(major_, number_);
        start_number(state::inode);
        return {};
      default:  // inode
        if (c != ' ' && c != '\n') return errc::malformed;
        head_.inode = number_;
        state_ = c == ' ' ? state::before_name : state::line_start;
        open_ = true;
        return handler_.on_mapping(head_);
    }
  }

  constexpr result<void> take_permission(char c) {
    constexpr u32 bits[] = {u32{sys::abi::prot_read}, u32{sys::abi::prot_write},
                            u32{sys::abi::prot_exec}};
    const unsigned column = column_++;
    if (column < 3) {
      if (c == "rwx"[column])
        head_.protection |= bits[column];
      else if (c != '-')
        return errc::malformed;
    } else if (column == 3) {
      if (c != 's' && c != 'p') return errc::malformed;
      head_.shared = c == 's';
    } else {
      if (c != ' ') return errc::malformed;
      start_number(state::offset);
    }
    return {};
  }

  constexpr result<void> take_key(char c) {
    if (c == ':') {
      if (std::string_view(key_, key_size_) == "VmFlags") {
        state_ = state::flags;
        flags_ = {};
        letters_size_ = 0;
      } else {
        start_number(state::value);
      }
    } else if (c == '\n') {
      state_ = state::line_start;
    } else if (key_size_ == sizeof key_) {
      state_ = state::skip;
    } else {
      key_[key_size_++] = c;
    }
    return {};
  }

  constexpr result<void> take_value(char c) {
    if (digit(c, 10)) return {};
    if (c == '\n')
      state_ = state::line_start;
    else if (c == ' ' && has_digits_)
      state_ = state::unit;
    else if ((c != ' ' && c != '\t') || has_digits_)
      state_ = state::skip;
    column_ = 0;
    return {};
  }

  constexpr result<void> take_unit(char c) {
    const unsigned column = column_++;
    if (column < 2 && c == "kB"[column]) return {};
    if (c != '\n') {
      state_ = state::skip;
      return {};
    }
    state_ = state::line_start;
    if (column < 2) return {};
    return handler_.on_kilobytes(std::string_view(key_, key_size_), number_);
  }

  constexpr result<void> take_flags(char c) {
    if (c != ' ' && c != '\n') {
      if (letters_size_ < sizeof letters_) letters_[letters_size_] = c;
      if (letters_size_ <= sizeof letters_) ++letters_size_;
      return {};
    }
    if (letters_size_ == sizeof letters_)
      flags_ |= flag_of(std::string_view(letters_, sizeof letters_));
    else if (letters_size_ > 0)
      flags_ |= vm_flag::unknown;
    letters_size_ = 0;
    if (c == ' ') return {};
    state_ = state::line_start;
    return handler_.on_flags(flags_);
  }

  H& handler_;
  mapping_head head_;
  u64 number_ = 0;
  u64 major_ = 0;
  vm_flags flags_;
  errc failure_ = errc::none;
  state state_ = state::line_start;
  bool has_digits_ = false;
  bool open_ = false;  // on_mapping has been called, on_mapping_end has not
  u8 column_ = 0;
  u8 key_size_ = 0;
  u8 letters_size_ = 0;
  char letters_[2] = {};
  char key_[64] = {};
};

/// Reads fd to its end through the caller's buffer, which may be as small as one byte.
/// Context: any, no libc.
template <sys::file_kernel K, mapping_handler H>
result<void> parse_file(K& kernel, int fd, std::span<char> buffer, H& handler) {
  if (buffer.empty()) return errc::buffer_too_small;
  parser<H> parse(handler);
  for (;;) {
    const result<u64> got = kernel.read(fd, buffer.data(), buffer.size());
    if (!got.ok()) {
      if (got.error() == errc::interrupted) continue;
      return got.error();
    }
    if (*got == 0) return parse.finish();
    CKPT_TRY(parse.feed(std::string_view(buffer.data(), *got)));
  }
}

}  // namespace ckpt::maps
