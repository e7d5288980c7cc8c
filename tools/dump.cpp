// SPDX-License-Identifier: MIT
//
// Memory by address, in the layout everybody knows from hexdump -C.
#include <algorithm>
#include <array>

#include "commands.hpp"
#include "image_error.hpp"
#include "json_stream.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

namespace {

constexpr u64 default_length = 256;
constexpr u64 bytes_a_line = 16;

std::string line_of(u64 address, bytes row) {
  std::string hexadecimal, characters;
  for (std::size_t i = 0; i < bytes_a_line; ++i) {
    if (i % 8 == 0) hexadecimal += ' ';
    if (i >= row.size()) {
      hexadecimal += "   ";
      continue;
    }
    hexadecimal += ' ' + hex_digits(row.subspan(i, 1));
    const char c = static_cast<char>(row[i]);
    characters += c >= ' ' && c <= '~' ? c : '.';
  }
  return address_text(address) + hexadecimal + "  |" + characters + "|\n";
}

result<u64> parse_either(std::string_view text) {
  if (text.starts_with("0x") || text.starts_with("0X")) return parse_number(text.substr(2), 16);
  return parse_number(text, 10);
}

std::string range_text(u64 address, u64 length) {
  return address_text(address) + "-" + address_text(address + length);
}

/// What there is of it; throws when that is nothing, or less than was named.
u64 length_of(const program_memory& memory, const dump_range& what) {
  const range run = memory.run_from(what.address);
  if (run.empty()) {
    if (memory.find(what.address) != nullptr)
      throw image_error("address " + address_text(what.address) +
                        " is the kernel's data page, which no image holds");
    throw image_error("address " + address_text(what.address) + " is not mapped");
  }
  u64 length = what.length;
  if (length > run.length()) {
    if (what.length_given)
      throw image_error("addresses " + range_text(what.address, length) +
                        " are not all mapped, only up to " + address_text(run.end));
    length = run.length();
  }
  return length;
}

}  // namespace

result<dump_range> parse_dump_range(std::string_view text) {
  const auto colon = text.find(':');
  std::string_view address = text.substr(0, colon);
  if (address.starts_with("0x") || address.starts_with("0X")) address.remove_prefix(2);
  dump_range what{CKPT_TRY(parse_number(address, 16)), default_length, colon != text.npos};
  if (what.length_given) what.length = CKPT_TRY(parse_either(text.substr(colon + 1)));
  if (what.length == 0) return errc::malformed;
  CKPT_TRY(range::at(what.address, what.length));
  return what;
}

void dump(image_file& image, const dump_range& what, std::ostream& out) {
  program_memory memory(image);
  const u64 length = length_of(memory, what);

  // As hexdump does: a line like the one before is not repeated, one star stands for all of them.
  std::array<std::byte, 64 * 1024> buffer;
  std::vector<std::byte> previous;
  bool starred = false;
  for (u64 done = 0; done < length;) {
    auto piece = std::span(buffer).first(std::min<u64>(buffer.size(), length - done));
    memory.read(what.address + done, piece);
    for (std::size_t i = 0; i < piece.size(); i += bytes_a_line) {
      const bytes row = piece.subspan(i, std::min<std::size_t>(bytes_a_line, piece.size() - i));
      if (std::ranges::equal(row, previous)) {
        if (!starred) out << "*\n";
        starred = true;
        continue;
      }
      starred = false;
      previous.assign(row.begin(), row.end());
      out << line_of(what.address + done + i, row);
    }
    done += piece.size();
  }
  out << address_text(what.address + length) << '\n';
}

void dump_json(image_file& image, const dump_range& what, const request& asked,
               std::ostream& out) {
  program_memory memory(image);
  const u64 length = length_of(memory, what);
  json_stream to(out);
  begin_document(to, asked);
  to.member("address", hex_number(what.address));
  to.member("length", length);
  auto& digits = to.raw_string("bytes");
  std::array<std::byte, 64 * 1024> buffer;
  for (u64 done = 0; done < length;) {
    const auto piece = std::span(buffer).first(std::min<u64>(buffer.size(), length - done));
    memory.read(what.address + done, piece);
    digits << hex_digits(piece);
    done += piece.size();
  }
  to.end_raw_string();
  to.end_object();
}

}  // namespace ckpt::tools
