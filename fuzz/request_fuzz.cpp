// SPDX-License-Identifier: MIT
//
// What ckptsrv and its client read of their own, beyond what Beast does: the target of a request, Range,
// Authorization, the URL of an image, a body in chunks, each held against the same in plain words. The first byte chooses one.
#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "../server/byte_range.hpp"
#include "../server/chunked_body.hpp"
#include "../server/request_target.hpp"
#include "../server/tokens.hpp"
#include "../transfer/url.hpp"
#include "plain_text.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::fuzz;

void require(bool so) {
  if (!so) __builtin_trap();
}

/// A name that is let in leads nowhere else, by whatever rules somebody reads it later.
void require_harmless(const std::string& name) {
  require(!name.empty() && name.size() <= server::longest_name);
  require(name.front() != '/' && name.back() != '/');
  require(name.find("//") == std::string::npos && name.find('\\') == std::string::npos);
  require(("/" + name + "/").find("/../") == std::string::npos);
  require(("/" + name + "/").find("/./") == std::string::npos);
  for (const char c : name) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
  // Decoded once more it is the same, or no name.
  const auto again = server::percent_decoded(name);
  require(!again || *again == name);
}

// --- the second opinion --------------------------------------------------------------------------
std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts(1);
  for (const char c : text)
    if (c == at) parts.emplace_back();
    else parts.back() += c;
  return parts;
}

/// The one way to write a character (RFC 3629, 3).
std::string encoded(unsigned long c) {
  const auto byte = [](unsigned long b) { return std::string(1, static_cast<char>(b)); };
  const auto more = [&](unsigned shift) { return byte(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) return byte(c);
  if (c < 0x800) return byte(0xc0 | c >> 6) + more(0);
  if (c < 0x10000) return byte(0xe0 | c >> 12) + more(6) + more(0);
  return byte(0xf0 | c >> 18) + more(12) + more(6) + more(0);
}

/// Some character has these bytes, and each has.
bool is_characters(std::string text) {
  while (!text.empty()) {
    const auto byte = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0ul; };
    const unsigned long first = byte(0);
    const std::size_t size = first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    unsigned long c = size == 1 ? first : first & (0x7fu >> size);
    for (std::size_t i = 1; i < size; ++i) c = c << 6 | (byte(i) & 0x3f);
    if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000) || text.substr(0, size) != encoded(c)) return false;
    text = text.substr(size);
  }
  return true;
}

bool is_hex(const std::string& digits) {
  return digits.size() == 2 && digits.find_first_not_of("0123456789abcdefABCDEF") == std::string::npos;
}

/// Every escape, one time.
std::string plain_decoded(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    const std::string digits = text.substr(i + 1, 2);
    want(is_hex(digits));
    out += static_cast<char>(plain_number(digits, 16, 255));
    i += 2;
  }
  return out;
}

bool is_name(const std::string& name) {
  if (name.empty() || name.size() > 1000 || !is_characters(name)) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (c < ' ' || c == 0x7f || c == '\\' || (c == '%' && is_hex(name.substr(i + 1, 2)))) return false;
  }
  for (const auto& part : split(name, '/'))
    if (part.empty() || part == "." || part == ".." || part.size() > 255) return false;
  return true;
}

struct plain_target {
  std::string name;
  wide version = -1;
};

plain_target plain_request(std::string text) {
  plain_target found;
  const auto host = text.find("://") + 3;
  if (text.substr(0, host) == "http://" || text.substr(0, host) == "https://") {
    const auto slash = text.find('/', host);
    text = slash == std::string::npos ? "/" : text.substr(slash);
  }
  want(!text.empty() && text[0] == '/');
  const std::string path = split(text, '?')[0];
  const std::string query = path == text ? "" : text.substr(path.size() + 1);
  if (!query.empty()) {
    want(query.substr(0, 8) == "version=");
    found.version = plain_number(query.substr(8), 10, largest_i64);
  }
  found.name = plain_decoded(path.substr(1));
  want(path == "/" || is_name(found.name));
  return found;
}

/// RFC 9110, 14.2, of what is served: one range of bytes. Begin and end, both -1 for none and for all.
std::pair<wide, wide> plain_range(const std::string& text, wide size) {
  const std::pair<wide, wide> all{0, -1}, none{-1, -1};
  std::pair<wide, wide> part = all;
  (void)can_be_read([&] {
    want(text.substr(0, 6) == "bytes=");
    const auto dash = text.find('-');
    want(dash != std::string::npos && text.find(',') == std::string::npos);
    const std::string first = text.substr(6, dash - 6), last = text.substr(dash + 1);
    if (first.empty()) {
      const wide suffix = plain_number(last, 10, largest_u64);
      part = suffix == 0 || size == 0 ? none : std::pair<wide, wide>{std::max<wide>(size - suffix, 0), size};
      return;
    }
    const wide begin = plain_number(first, 10, largest_u64);
    const wide end = last.empty() ? size : plain_number(last, 10, largest_u64) + 1;
    want(last.empty() || end > begin);
    part = begin >= size ? none : std::pair<wide, wide>{begin, std::min(end, size)};
  });
  return part;
}

transfer::url plain_url(const std::string& text) {
  using kind = transfer::url::scheme_kind;
  transfer::url u;
  if (text.substr(0, 5) == "exec:") {
    u.scheme = kind::exec;
    u.name = text.substr(5);
    want(!u.name.empty());
    return u;
  }
  const auto colon = text.find("://");
  want(colon != std::string::npos);
  const std::string scheme = text.substr(0, colon), rest = text.substr(colon + 3);
  want(scheme == "cssrv" || scheme == "cssrvs");
  u.scheme = scheme == "cssrv" ? kind::http : kind::https;
  std::string place = split(rest, '/')[0];
  want(place.size() + 1 < rest.size());
  u.name = rest.substr(place.size() + 1);
  std::string port;
  if (place[0] == '[') {
    const auto end = place.find(']');
    want(end != std::string::npos);
    u.host = place.substr(1, end - 1);
    port = place.substr(end + 1);
  } else {
    want(std::count(place.begin(), place.end(), ':') <= 1);
    u.host = split(place, ':')[0];
    port = place.substr(u.host.size());
  }
  want(!u.host.empty());
  for (const char c : u.host) want(c > ' ' && c != 0x7f && c != '@');
  if (!port.empty()) {
    want(port[0] == ':');
    u.port = static_cast<unsigned>(plain_number(port.substr(1), 10, 65535));
    want(u.port != 0);
  }
  return u;
}

// --- both ----------------------------------------------------------------------------------------
void target(std::string_view text) {
  std::string why;
  const auto found = server::parse_target(text, why);
  require(found.has_value() == why.empty());
  plain_target plain;
  require(found.has_value() == can_be_read([&] { plain = plain_request(std::string(text)); }));
  if (!found) return;
  require(found->name == plain.name && found->version.has_value() == (plain.version >= 0));
  if (found->version) require(*found->version == plain.version);
  if (found->name.empty()) return;
  require_harmless(found->name);
  // As the client encodes it, it means the same.
  const auto back = server::parse_target("/" + transfer::percent_encoded(found->name), why);
  require(back && back->name == found->name);
}

void range(std::string_view text) {
  for (const u64 size : {u64{0}, u64{1}, u64{1000}, ~u64{0}}) {
    const auto found = server::parse_range(text, size);
    const auto [begin, end] = plain_range(std::string(text), wide{size});
    const auto kind = begin < 0 ? server::range_kind::unsatisfiable
                      : end < 0 ? server::range_kind::whole
                                : server::range_kind::part;
    require(found.kind == kind);
    if (kind == server::range_kind::part) require(found.part.begin == begin && found.part.end == end);
  }
}

void token(std::string_view text) {
  const auto found = server::bearer_token(text);
  std::string plain;
  std::string scheme(text.substr(0, 7));
  std::transform(scheme.begin(), scheme.end(), scheme.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (scheme == "bearer ") {
    plain = text.substr(7);
    while (!plain.empty() && plain.front() == ' ') plain = plain.substr(1);
    while (!plain.empty() && plain.back() == ' ') plain.pop_back();
  }
  require(found == plain);
  require(found.empty() ||
          (text.data() <= found.data() && found.data() + found.size() <= text.data() + text.size()));
}

void url(std::string_view text) {
  std::string why;
  const auto found = transfer::parse_url(text, why);
  require(found.has_value() == why.empty());
  transfer::url plain;
  require(found.has_value() == can_be_read([&] { plain = plain_url(std::string(text)); }));
  if (!found) return;
  require(found->scheme == plain.scheme && found->host == plain.host && found->port == plain.port &&
          found->name == plain.name);
  const auto encoded_name = transfer::percent_encoded(found->name);
  for (const char c : encoded_name) require(c > ' ' && c < 0x7f);
  require(server::percent_decoded(encoded_name) == found->name);
}

/// What a body in chunks holds, and how it ends: 'e' at its end, 'm' where it is malformed, '.' before either.
struct chunks {
  char ends = '.';
  std::string body;
  std::size_t read = 0;

  bool operator==(const chunks&) const = default;
};

/// By the grammar of RFC 9112, 7.1, a line at a time; limits as chunked_body has them.
chunks plain_chunks(std::string_view text) {
  chunks all;
  const auto is_text = [](char c) { return c == '\t' || (static_cast<unsigned char>(c) >= ' ' && c != 0x7f); };
  std::size_t at = 0;
  const auto stop = [&](char how) {
    all.ends = how;
    all.read = how == '.' ? text.size() : std::min(at + (how == 'm' ? 1 : 0), text.size());
    return all;
  };
  // True behind CR LF; otherwise it ends where `at` is.
  const auto new_line = [&] {
    if (at >= text.size() || text[at] != '\r') return false;
    ++at;
    if (at >= text.size() || text[at] != '\n') return false;
    ++at;
    return true;
  };
  const auto unfinished = [&] { return stop(at >= text.size() ? '.' : 'm'); };
  for (;;) {
    std::size_t digits = 0;
    std::uint64_t size = 0;
    for (; at < text.size() && std::isxdigit(static_cast<unsigned char>(text[at])) != 0; ++at, ++digits) {
      if (digits == 15) return stop('m');
      size = size * 16 + static_cast<std::uint64_t>(std::stoi(std::string(1, text[at]), nullptr, 16));
    }
    if (at >= text.size()) return stop('.');
    if (digits == 0) return stop('m');
    if (text[at] == ';' || text[at] == ' ' || text[at] == '\t') {
      ++at;
      for (std::size_t seen = digits; at < text.size() && text[at] != '\r'; ++at)
        if (!is_text(text[at]) || ++seen > 1024) return stop('m');
    }
    if (!new_line()) return unfinished();
    if (size == 0) break;
    const auto n = std::min<std::uint64_t>(size, text.size() - at);
    all.body += text.substr(at, n);
    at += n;
    if (n < size || at == text.size()) return stop('.');
    if (!new_line()) return unfinished();
  }
  std::size_t seen = 0;
  while (at < text.size() && text[at] != '\r') {
    if (!is_text(text[at]) || text[at] == ' ' || text[at] == '\t') return stop('m');
    for (++at; at < text.size() && text[at] != '\r'; ++at)
      if (!is_text(text[at]) || ++seen > 8192) return stop('m');
    if (!new_line()) return unfinished();
  }
  if (!new_line()) return unfinished();
  return stop('e');
}

/// As it comes in pieces of at most `most` bytes.
chunks decoded(std::string_view text, std::size_t most) {
  chunks all;
  server::chunked_body decoder;
  for (std::size_t from = 0; from < text.size() && all.ends == '.'; from += most) {
    bytes in = bytes_of_text(text.substr(from, most)), data;
    for (auto found = server::chunked_body::found::data; found == server::chunked_body::found::data;) {
      const std::size_t left = in.size();
      found = decoder.next(in, data);
      require(in.size() <= left);
      all.read += left - in.size();
      if (found == server::chunked_body::found::data) all.body += text_of_bytes(data);
      if (found == server::chunked_body::found::end) all.ends = 'e';
      if (found == server::chunked_body::found::malformed) all.ends = 'm';
    }
  }
  return all;
}

void body_in_chunks(std::string_view text) {
  const auto plain = plain_chunks(text);
  for (const std::size_t most : {std::size_t{1}, std::size_t{7}, text.size() + 1})
    require(decoded(text, most) == plain);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // A copy of its own size: reading past the end is an error that ASan sees.
  const std::unique_ptr<char[]> exact(new char[size - 1]);
  if (size > 1) std::memcpy(exact.get(), data + 1, size - 1);
  const std::string_view text(exact.get(), size - 1);
  if (data[0] % 8 == 4) {
    body_in_chunks(text);
    return 0;
  }
  switch (data[0] % 4) {
    case 0: target(text); break;
    case 1: range(text); break;
    case 2: token(text); break;
    default: url(text); break;
  }
  return 0;
}
