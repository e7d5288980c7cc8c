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

/// Those that share the line of the option before.
[[nodiscard]] constexpr bool shares_line(id i) { return i == id::version || i == id::json; }

/// Every option that `Who` takes.
// Context: any, no libc
template <options::reader Who, std::size_t Capacity>
void append_help(fixed_text<Capacity>& out) {
  std::size_t line = 0;
  bool begun = false;
  const auto pad_to = [&](std::size_t column) {
    do out.append(' ');
    while (out.view().size() - line < column);
  };
  for (const auto& o : rows_of<Who>) {
    if (o.long_name.empty()) continue;
    const bool shares = shares_line(o.id);
    if (shares) {
      out.append("; ");
    } else {
      if (begun) out.append('\n');
      begun = true;
      line = out.view().size();
      out.append(o.short_name != 0 ? "  " : "      ");
    }
    append_form(out, o);
    if (shares)
      out.append(' ');
    else
      pad_to(help_column);
    out.append(o.brief);
  }
  out.append('\n');
}

}  // namespace ckpt::options
