// SPDX-License-Identifier: MIT
//
// The chunked transfer coding (RFC 9112, 7.1), decoded where it lies. It takes nothing but what the RFC
// has: whoever reads on where another would not, lets one request pass for two.
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::server {

class chunked_body {
 public:
  enum class found : u8 { data, nothing, end, malformed };

  /// The next bytes of the body that are in `in`, which gets shorter by what was taken. `nothing`: all was
  /// taken, and more is to come.
  [[nodiscard]] found next(bytes& in, bytes& data) {
    while (!in.empty()) {
      if (at_ == place::data) {
        const u64 n = left_ < in.size() ? left_ : in.size();
        data = in.first(n);
        in = in.subspan(n);
        left_ -= n;
        if (left_ == 0) at_ = place::data_cr;
        return found::data;
      }
      const char c = static_cast<char>(in[0]);
      in = in.subspan(1);
      if (!take(c)) at_ = place::malformed;
      if (at_ == place::malformed) return found::malformed;
      if (at_ == place::end) return found::end;
    }
    return found::nothing;
  }

 private:
  enum class place : u8 { size, extension, size_lf, data, data_cr, data_lf, trailer, trailer_line, trailer_lf, last_lf, end, malformed };
  static constexpr unsigned most_digits = 15;
  static constexpr unsigned longest_line = 1024;   // of a chunk, with its extensions
  static constexpr unsigned longest_trailer = 8192;

  static constexpr int hex(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }
  static constexpr bool is_text(char c) { return c == '\t' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f); }

  /// False for what may not stand there.
  bool take(char c) {
    switch (at_) {
      case place::size:
        if (const int digit = hex(c); digit >= 0) {
          left_ = left_ << 4 | static_cast<u64>(digit);
          return ++seen_ <= most_digits;
        }
        if (seen_ == 0) return false;
        if (c != '\r' && c != ';' && c != ' ' && c != '\t') return false;
        at_ = c == '\r' ? place::size_lf : place::extension;
        return true;
      case place::extension:
        if (c == '\r') at_ = place::size_lf;
        else return is_text(c) && ++seen_ <= longest_line;
        return true;
      case place::size_lf:
        at_ = left_ == 0 ? place::trailer : place::data;
        seen_ = 0;
        return c == '\n';
      case place::data_cr:
        at_ = place::data_lf;
        return c == '\r';
      case place::data_lf:
        at_ = place::size;
        return c == '\n';
      case place::trailer:
        at_ = c == '\r' ? place::last_lf : place::trailer_line;
        return at_ == place::last_lf || (is_text(c) && c != ' ' && c != '\t');
      case place::trailer_line:
        if (c == '\r') at_ = place::trailer_lf;
        else return is_text(c) && ++seen_ <= longest_trailer;
        return true;
      case place::trailer_lf:
        at_ = place::trailer;
        return c == '\n';
      case place::last_lf:
        at_ = place::end;
        return c == '\n';
      default: return false;
    }
  }

  place at_ = place::size;
  u64 left_ = 0;
  unsigned seen_ = 0;
};

}  // namespace ckpt::server
