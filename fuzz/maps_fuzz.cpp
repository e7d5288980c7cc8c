// SPDX-License-Identifier: MIT
//
// The maps parser: however a text is cut into pieces, the events and the error are the same, and
// what comes out is what a kernel could have meant. The first four bytes choose the pieces.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"

namespace {

using namespace ckpt;

void require(bool so) {
  if (!so) __builtin_trap();
}

// The events as one text; pieces of a name run together, because their borders are no promise.
struct transcript {
  std::string events;
  std::string name;
  bool open = false;

  void number(char kind, u64 n) { (events += kind) += std::to_string(n); }

  result<void> on_mapping(const maps::mapping_head& head) {
    require(!open);
    require(!head.where.empty());
    require(head.protection <= 7);
    open = true;
    name.clear();
    events += '<';
    for (const u64 n : {head.where.begin, head.where.end, u64{head.protection}, u64{head.shared},
                        head.offset, head.device, head.inode})
      number(' ', n);
    events += '"';
    return {};
  }
  result<void> on_name(std::string_view piece) {
    require(open && !piece.empty());
    events += piece;
    name += piece;
    return {};
  }
  result<void> on_kilobytes(std::string_view key, u64 kilobytes) {
    require(open && !key.empty() && key.size() <= 64);
    (events += '\n') += key;
    number('=', kilobytes);
    return {};
  }
  result<void> on_flags(maps::vm_flags flags) {
    require(open);
    require((flags.bits() & ~maps::every_vm_flag.bits()) == 0);
    number('F', flags.bits());
    return {};
  }
  result<void> on_mapping_end() {
    require(open);
    open = false;
    events += '>';
    check_name();
    return {};
  }

  void check_name() {
    require(name.find('\n') == std::string::npos);
    (void)maps::special_of(name);
    (void)maps::backing_of(name);
    require(maps::without_deleted(name).size() <= name.size());
    const std::size_t before = name.size();
    require(maps::unescape(name).size() <= before);
  }
};

// next() is the length of the next piece.
template <class Next>
std::string parsed(std::string_view text, Next next) {
  transcript t;
  maps::parser<transcript> parser(t);
  errc error = errc::none;
  while (!text.empty() && error == errc::none) {
    const std::string_view piece = text.substr(0, next());
    // A copy of its own size: reading past the piece is an error that ASan sees.
    const std::unique_ptr<char[]> exact(new char[piece.size()]);
    std::memcpy(exact.get(), piece.data(), piece.size());
    error = parser.feed({exact.get(), piece.size()}).error();
    text.remove_prefix(piece.size());
  }
  if (error == errc::none) error = parser.finish().error();
  require(error != errc::none || !t.open);
  t.events += "\nerror " + std::to_string(static_cast<int>(error));
  return t.events;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::uint32_t state = 1;
  if (size < sizeof state) return 0;
  std::memcpy(&state, data, sizeof state);
  const std::string_view text(reinterpret_cast<const char*>(data) + sizeof state,
                              size - sizeof state);
  const std::size_t largest = 1 + state % 61;
  const auto some = [&] {
    state = state * 1664525 + 1013904223;
    return (state >> 16) % (largest + 1);
  };
  const std::string whole = parsed(text, [&] { return text.size(); });
  require(parsed(text, [] { return std::size_t{1}; }) == whole);
  require(parsed(text, some) == whole);
  return 0;
}
