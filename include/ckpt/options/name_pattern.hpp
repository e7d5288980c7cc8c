// SPDX-License-Identifier: MIT
//
// What an image may be called: FILE or file://FILE, with %p, %n, %t, %h and %% in it, which stand
// for what is known only when the image is made. One reading for the command and the agent.
#pragma once

#include "ckpt/base/text.hpp"

namespace ckpt::options {

inline constexpr u64 longest_name = 1023;  // as it was given, see CKPT_MAXNAME of ckpt.h
inline constexpr u64 longest_file_name = 255;  // NAME_MAX

/// What the letters stand for.
struct name_facts {
  std::string_view process;  // %p: its number as seen from outside
  u64 number = 0;            // %n: of the checkpoint in this program, from 1, across restarts
  i64 seconds = 0;           // %t: since 1970, as 20260131T235959Z, so that names sort by time
  std::string_view host;     // %h: uname -n
};

inline constexpr std::string_view letters = "pnth%";

/// Images of such names are carried by ckpt-transfer.
[[nodiscard]] constexpr bool goes_elsewhere(std::string_view name) {
  return name.starts_with("cssrv://") || name.starts_with("cssrvs://") || name.starts_with("exec:");
}

/// FILE and file://FILE are names of files; what schemes beside these and ckpt-transfer's mean, this
/// version does not know.
[[nodiscard]] constexpr bool has_other_scheme(std::string_view name) {
  const auto colon = name.find("://");
  if (colon == std::string_view::npos || name.starts_with("file://") || goes_elsewhere(name))
    return false;
  for (std::size_t i = 0; i < colon; ++i)
    if (name[i] < 'a' || name[i] > 'z') return false;
  return colon > 0;
}

[[nodiscard]] constexpr std::string_view without_scheme(std::string_view name) {
  if (name.starts_with("file://")) name.remove_prefix(7);
  return name;
}

/// The last component of a path.
[[nodiscard]] constexpr std::string_view base_of(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash != std::string_view::npos) path.remove_prefix(slash + 1);
  return path;
}

/// Whether an image may be called so. Otherwise `why` gets the rest of a sentence that begins with
/// the name.
template <std::size_t N>
[[nodiscard]] constexpr bool may_be_name(std::string_view given, fixed_text<N>& why) {
  const auto name = without_scheme(given);
  if (name.empty() || given.size() > longest_name) {
    why.append("has ").append(given.size()).append(" characters; it may have 1 to ");
    why.append(longest_name);
    return false;
  }
  if (has_other_scheme(given)) {
    why.append("has a scheme that ckpt does not know: FILE, file://FILE, cssrv://HOST/NAME, "
               "cssrvs://HOST/NAME, exec:COMMAND");
    return false;
  }
  if (goes_elsewhere(name) && !name.starts_with("exec:")) {
    const auto place = name.substr(name.find("://") + 3);
    if (place.find('/') == 0 || place.find('/') == std::string_view::npos) {
      why.append("has no host, or no name behind it: cssrv://HOST[:PORT]/NAME");
      return false;
    }
  }
  if (name == "exec:" || (base_of(name).empty() && !name.starts_with("exec:"))) {
    why.append("is a directory: the name ends with a file's");
    return false;
  }
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] != '%') continue;
    ++i;
    if (i < name.size() && letters.find(name[i]) != std::string_view::npos) continue;
    why.append("has ").append(quoted{name.substr(i - 1, 2)});
    why.append(", which means nothing: %p process, %n number, %t time, %h host, %% a percent sign");
    return false;
  }
  return true;
}

/// Whether different processes get different names from it.
[[nodiscard]] constexpr bool names_process(std::string_view pattern) {
  for (std::size_t i = 0; i + 1 < pattern.size(); ++i)
    if (pattern[i] == '%') {
      ++i;
      if (pattern[i] == 'p') return true;
    }
  return false;
}

/// The pattern that stands for this very text.
template <std::size_t N>
constexpr void append_literally(fixed_text<N>& pattern, std::string_view text) {
  for (const char c : text) {
    if (c == '%') pattern.append('%');
    pattern.append(c);
  }
}

namespace detail {
template <std::size_t N>
constexpr void append_padded(fixed_text<N>& out, u64 number, unsigned digits) {
  u64 least = 1;
  for (unsigned i = 1; i < digits; ++i) least *= 10;
  for (; least > 1 && number < least; least /= 10) out.append('0');
  out.append(number);
}

/// 20260131T235959Z; the calendar is Gregorian, a year here begins in March.
template <std::size_t N>
[[gnu::cold]] constexpr void append_time(fixed_text<N>& out, i64 seconds) {
  if (seconds < 0) seconds = 0;
  const u64 of_day = static_cast<u64>(seconds) % 86'400;
  const u64 days = static_cast<u64>(seconds) / 86'400 + 719'468;  // since the first of March of year 0
  const u64 era = days / 146'097;
  const u64 day_of_era = days % 146'097;
  const u64 year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const u64 day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const u64 month_from_march = (5 * day_of_year + 2) / 153;
  const u64 day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
  const u64 month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
  append_padded(out, year_of_era + era * 400 + (month <= 2 ? 1 : 0), 4);
  append_padded(out, month, 2);
  append_padded(out, day, 2);
  out.append('T');
  append_padded(out, of_day / 3'600, 2);
  append_padded(out, of_day / 60 % 60, 2);
  append_padded(out, of_day % 60, 2);
  out.append('Z');
}
}  // namespace detail

/// The name itself; errc::buffer_too_small when it is longer than `out`, errc::malformed for what
/// may_be_name refuses.
// Context: any, no libc
template <std::size_t N>
[[nodiscard]] constexpr result<void> expand_name(std::string_view pattern, const name_facts& facts,
                                                 fixed_text<N>& out) {
  out.clear();
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '%') {
      out.append(pattern[i]);
      continue;
    }
    if (++i == pattern.size()) return errc::malformed;
    switch (pattern[i]) {
      case 'p': out.append(facts.process); break;
      case 'n': out.append(facts.number); break;
      case 't': detail::append_time(out, facts.seconds); break;
      case 'h':
        // A host may be called anything; it makes no directory.
        for (const char c : facts.host) out.append(c == '/' ? '_' : c);
        break;
      case '%': out.append('%'); break;
      default: return errc::malformed;
    }
  }
  if (out.truncated()) return errc::buffer_too_small;
  return {};
}

}  // namespace ckpt::options
