// SPDX-License-Identifier: MIT
//
// The names of images that are not files: cssrv://HOST[:PORT]/NAME over HTTP, cssrvs:// over HTTPS,
// exec:COMMAND through a program. HOST is a name of DNS, an address, or [ADDRESS] for IPv6.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "ckpt/base/text.hpp"

namespace ckpt::transfer {

inline constexpr unsigned default_port = 10301;

struct url {
  enum class scheme_kind : u8 { http, https, exec };
  scheme_kind scheme = scheme_kind::http;
  std::string host;
  unsigned port = default_port;
  std::string name;  // as it was given; the command of exec:
};

/// On failure `why` has the reason.
[[nodiscard]] inline std::optional<url> parse_url(std::string_view text, std::string& why) {
  url u;
  constexpr std::string_view exec = "exec:", http = "cssrv://", https = "cssrvs://";
  if (text.starts_with(exec)) {
    u.scheme = url::scheme_kind::exec;
    u.name = text.substr(exec.size());
    if (u.name.empty()) why = "there is no command behind exec:";
    return u.name.empty() ? std::nullopt : std::optional(u);
  }
  if (text.starts_with(https)) u.scheme = url::scheme_kind::https;
  else if (!text.starts_with(http)) {
    why = "it begins with neither cssrv://, cssrvs:// nor exec:";
    return std::nullopt;
  }
  text.remove_prefix(u.scheme == url::scheme_kind::https ? https.size() : http.size());
  const auto slash = text.find('/');
  if (slash == std::string_view::npos || slash + 1 == text.size()) {
    why = "there is no name behind the host (cssrv://HOST/NAME)";
    return std::nullopt;
  }
  auto place = text.substr(0, slash);
  u.name = text.substr(slash + 1);
  std::string_view port;
  bool has_port = false;
  if (place.starts_with('[')) {
    const auto end = place.find(']');
    if (end == std::string_view::npos) {
      why = "the address is not closed by ]";
      return std::nullopt;
    }
    u.host = place.substr(1, end - 1);
    const auto rest = place.substr(end + 1);
    has_port = rest.starts_with(':');
    if (has_port) port = rest.substr(1);
    else if (!rest.empty()) u.host.clear();
  } else {
    const auto colon = place.find(':');
    if (colon != std::string_view::npos && place.find(':', colon + 1) != std::string_view::npos) {
      why = "an IPv6 address stands in brackets (cssrv://[::1]/NAME)";
      return std::nullopt;
    }
    u.host = place.substr(0, colon);
    has_port = colon != std::string_view::npos;
    if (has_port) port = place.substr(colon + 1);
  }
  for (const char c : u.host)
    if (c <= ' ' || c == 0x7f || c == '@') u.host.clear();
  if (u.host.empty()) {
    why = "there is no host in it (cssrv://HOST/NAME)";
    return std::nullopt;
  }
  if (has_port) {
    const auto number = parse_number(port);
    if (!number.ok() || *number == 0 || *number > 65535) {
      why = "the port is no number from 1 to 65535";
      return std::nullopt;
    }
    u.port = static_cast<unsigned>(*number);
  }
  return u;
}

/// As a request line has it.
[[nodiscard]] inline std::string percent_encoded(std::string_view name) {
  constexpr std::string_view plain = "-._~/!$&'()*+,;=:@";
  std::string out;
  for (const char c : name) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter || plain.find(c) != std::string_view::npos) {
      out += c;
      continue;
    }
    constexpr char digits[] = "0123456789ABCDEF";
    out += '%';
    out += digits[static_cast<unsigned char>(c) >> 4];
    out += digits[static_cast<unsigned char>(c) & 15];
  }
  return out;
}

}  // namespace ckpt::transfer
