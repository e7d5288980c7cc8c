// SPDX-License-Identifier: MIT
//
// What ckptsrv and its client read of their own, beyond what Beast does: the target of a request, Range,
// Authorization, the URL of an image. The first byte chooses one.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "../server/byte_range.hpp"
#include "../server/request_target.hpp"
#include "../server/tokens.hpp"
#include "../transfer/url.hpp"

namespace {

using namespace ckpt;

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

void target(std::string_view text) {
  std::string why;
  const auto found = server::parse_target(text, why);
  require(found.has_value() == why.empty());
  if (!found || found->name.empty()) return;
  require_harmless(found->name);
  // As the client encodes it, it means the same.
  const auto back = server::parse_target("/" + transfer::percent_encoded(found->name), why);
  require(back && back->name == found->name);
}

void range(std::string_view text) {
  for (const u64 size : {u64{0}, u64{1}, u64{1000}, ~u64{0}}) {
    const auto found = server::parse_range(text, size);
    if (found.kind == server::range_kind::part)
      require(found.part.begin < found.part.end && found.part.end <= size);
  }
}

void token(std::string_view text) {
  const auto found = server::bearer_token(text);
  require(found.empty() ||
          (text.data() <= found.data() && found.data() + found.size() <= text.data() + text.size()));
  require(!found.starts_with(' ') && !found.ends_with(' '));
}

void url(std::string_view text) {
  std::string why;
  const auto found = transfer::parse_url(text, why);
  require(found.has_value() == why.empty());
  if (!found) return;
  require(!found->name.empty() && found->port > 0 && found->port < 65536);
  const bool host = found->scheme != transfer::url::scheme_kind::exec;
  require(found->host.empty() != host);
  for (const char c : found->host) require(c != '\r' && c != '\n' && c != ' ' && c != '/');
  const auto encoded = transfer::percent_encoded(found->name);
  for (const char c : encoded) require(c > ' ' && c < 0x7f);
  require(server::percent_decoded(encoded) == found->name);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // A copy of its own size: reading past the end is an error that ASan sees.
  const std::unique_ptr<char[]> exact(new char[size - 1]);
  if (size > 1) std::memcpy(exact.get(), data + 1, size - 1);
  const std::string_view text(exact.get(), size - 1);
  switch (data[0] % 4) {
    case 0: target(text); break;
    case 1: range(text); break;
    case 2: token(text); break;
    default: url(text); break;
  }
  return 0;
}
