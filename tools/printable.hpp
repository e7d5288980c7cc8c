// SPDX-License-Identifier: MIT
//
// Text from an image on its way to a terminal or into JSON. Whoever wrote the image chose it, so
// nothing that moves a cursor, changes a colour or turns the reading direction gets through.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ckpt/base/types.hpp"

namespace ckpt::tools {

/// Control characters (C0, DEL, C1), bidirectional overrides and bytes that are not UTF-8 come out
/// as \ooo, byte by byte.
[[nodiscard]] std::string printable(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);

/// A word as one can paste it into a shell: bare, in '…', or in $'…' when it needs escapes.
[[nodiscard]] std::string shell_word(std::string_view word);
[[nodiscard]] std::string shell_line(const std::vector<std::string>& words);

[[nodiscard]] std::string hex_digits(bytes raw);
[[nodiscard]] std::string hex_number(u64 value);  // with 0x
[[nodiscard]] std::string address_text(u64 address);
[[nodiscard]] std::string octal_number(u32 value, int digits);

/// "4 KiB", "12.3 MiB": three significant digits are enough for people.
[[nodiscard]] std::string size_text(u64 bytes);

}  // namespace ckpt::tools
