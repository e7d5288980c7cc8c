// SPDX-License-Identifier: MIT
//
// The lines of --help, which the command, an image and ckpt-restart have in common. They fit a
// screen of 24 lines of 80 columns; what is behind them the manual says.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/options/table.hpp"

namespace ckpt::options {

/// `  -n, --name NAME         the image's name`: where the second column begins.
inline constexpr std::size_t help_column = 26;

template <class Text>
void append_form(Text& out, const option& o) {
  if (o.short_name != 0) out.append('-').append(o.short_name).append(", ");
  out.append("--").append(o.long_name);
  if (!o.argument.empty()) out.append(' ').append(o.argument);
}

/// Every option that the reader takes; --help and --version share the last line.
// Context: any, no libc
template <options::reader Reader, std::size_t Capacity>
void append_help(fixed_text<Capacity>& out) {
  std::size_t line = 0;
  const auto pad_to = [&](std::size_t column) {
    do out.append(' ');
    while (out.view().size() - line < column);
  };
  bool last = false;
  for (const auto& o : rows_for<Reader>) {
    if (o.long_name.empty()) continue;
    const bool about = o.id == id::help || o.id == id::version;
    if (about && last) {
      out.append("; ");
    } else {
      line = out.view().size();
      out.append(o.short_name != 0 ? "  " : "      ");
    }
    append_form(out, o);
    if (about && last)
      out.append(' ');
    else
      pad_to(help_column);
    out.append(o.brief);
    last = about;
    if (!about) out.append('\n');
  }
  if (last) out.append('\n');
}

}  // namespace ckpt::options
