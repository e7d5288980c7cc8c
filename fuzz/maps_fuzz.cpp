// SPDX-License-Identifier: MIT
//
// The maps parser: however a text is cut into pieces, the events and the error are the same, and they are those
// of the same text read whole, line by line, in plain words. The first four bytes choose the pieces.
#include <sys/sysmacros.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "plain_text.hpp"

namespace {

using namespace ckpt;
using namespace ckpt::fuzz;

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
    const bool brackets = !name.empty() && name[0] == '[';
    require((maps::special_of(name) != maps::special::none) == brackets);
    const auto behind = maps::backing_of(name);
    require((!brackets && !name.empty()) || behind == maps::backing::memory ||
            behind == maps::backing::shared_anonymous);
    const std::string mark = " (deleted)";
    const auto shorter = maps::without_deleted(name);
    require(name == std::string(shorter) + (maps::is_deleted(name) ? mark : ""));
    require(maps::is_deleted(name) == (name.size() >= mark.size() && name.substr(name.size() - mark.size()) == mark));
    std::string plain = name;
    for (std::size_t at = 0; (at = plain.find("\\012", at)) != std::string::npos; ++at) plain.replace(at, 4, "\n");
    require(maps::unescape(name) == plain);
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

// --- the second opinion --------------------------------------------------------------------------
/// The digits up to a character that must follow, which goes with them.
wide number_before(plain_reader& at, const std::string& behind, unsigned base, wide largest) {
  const wide value = plain_number(at.run_of(base == 16 ? "0123456789abcdef" : "0123456789"), base, largest);
  at.literal(behind);
  return value;
}

std::string plain_mapping(const std::string& line) {
  plain_reader at(line + "\n");
  const wide begin = number_before(at, "-", 16, largest_u64), end = number_before(at, " ", 16, largest_u64);
  want(begin < end);
  const std::string may = at.up_to(" ") + " ";
  want(may.size() == 5);
  for (const std::size_t i : {0u, 1u, 2u}) want(may[i] == '-' || may[i] == "rwx"[i]);
  want(may[3] == 's' || may[3] == 'p');
  at.literal(" ");
  const int protection = (may[0] == 'r' ? 1 : 0) | (may[1] == 'w' ? 2 : 0) | (may[2] == 'x' ? 4 : 0);
  const wide offset = number_before(at, " ", 16, largest_u64);
  const wide major = number_before(at, ":", 16, largest_u32), minor = number_before(at, " ", 16, largest_u32);
  const wide inode = number_before(at, "", 10, largest_u64);
  std::string name = at.rest();
  want(name[0] == ' ' || name == "\n");
  name = name.substr(name.find_first_not_of(' '));
  name.pop_back();
  std::string events = "<";
  const auto device = makedev(static_cast<unsigned>(major), static_cast<unsigned>(minor));
  for (const wide n : {begin, end, wide{protection}, wide{may[3] == 's'}, offset, wide{device}, inode})
    events += " " + std::to_string(static_cast<u64>(n));
  return events + "\"" + name;
}

/// An attribute that means something; the others are passed over.
std::string plain_attribute(const std::string& line) {
  const auto colon = line.find(':');
  if (colon == std::string::npos || colon > 64) return {};
  const std::string key = line.substr(0, colon);
  std::string value = line.substr(colon + 1);
  if (key == "VmFlags") {
    u64 flags = 0;
    for (plain_reader at(value); !at.at_end();) {
      const std::string letters = at.up_to(" ");
      at.next_is(" ");
      if (letters.empty()) continue;
      u64 flag = u64{1} << 63;
      for (const auto& known : maps::vm_flag_mnemonics)
        if (known.letters == letters) flag = static_cast<u64>(known.flag);
      flags |= flag;
    }
    return "F" + std::to_string(flags);
  }
  plain_reader at(value);
  wide kilobytes = 0;
  if (!can_be_read([&] {
        at.blanks();
        kilobytes = number_before(at, " kB", 10, largest_u64);
        want(at.at_end());
      }))
    return {};
  return "\n" + key + "=" + std::to_string(static_cast<u64>(kilobytes));
}

/// As transcript writes it; refused where a line is none of the kernel's.
std::string plain_events(std::string_view text) {
  const plain_lines lines(text);
  std::string events;
  bool open = false;
  for (const auto& line : lines.whole) {
    want(!line.empty());
    if (std::string("0123456789abcdef").find(line[0]) != std::string::npos) {
      if (open) events += '>';
      events += plain_mapping(line);
      open = true;
    } else {
      want(open && ((line[0] >= 'A' && line[0] <= 'Z') || (line[0] >= 'g' && line[0] <= 'z')));
      events += plain_attribute(line);
    }
  }
  want(!lines.torn);
  return events + (open ? ">" : "") + "\nerror 0";
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
  std::string plain;
  const bool good = can_be_read([&] { plain = plain_events(text); });
  require(good == whole.ends_with("\nerror 0"));
  require(!good || plain == whole);
  return 0;
}
