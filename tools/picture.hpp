// SPDX-License-Identifier: MIT
//
// An address space as a picture: a bar for each mapping, its length after its size, its cells after
// what lies in them. Plain SVG without scripts, alone or in a page.
#pragma once

#include <ostream>
#include <string>
#include <vector>

#include "ckpt/base/range.hpp"

namespace ckpt::tools {

struct picture_bar {
  range where;
  std::string flags;
  std::string colour;         // CSS; of a cell that is full
  std::string note;           // short, beside the name
  std::string name;           // as the image has it
  std::vector<double> cells;  // 0 to 1
  bool hot = false;           // cells after their warmth, not in the colour of the bar
};

struct picture_legend {
  std::string colour;
  std::string text;
  double share = 0;  // of the strip at the top
};

struct picture {
  std::string title;
  std::vector<std::string> lines;
  std::vector<picture_legend> legend;
  std::vector<picture_bar> bars;
};

/// How many cells the bar of so much memory has.
[[nodiscard]] std::size_t cells_for(u64 length);

void write_svg(const picture& what, std::ostream& out);
void write_html(const picture& what, std::ostream& out);

/// What goes into XML: control characters escaped, markup quoted.
[[nodiscard]] std::string xml_text(std::string_view text);

}  // namespace ckpt::tools
