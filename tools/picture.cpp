// SPDX-License-Identifier: MIT
//
// The length of a bar is the logarithm of its size: one page and one TiB are both to be seen.
#include "picture.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "printable.hpp"

namespace ckpt::tools {

namespace {

constexpr int width = 1240;
constexpr int row = 15;
constexpr int bar_left = 310;
constexpr int cell = 5;
constexpr std::size_t most_cells = 90;
constexpr int name_left = bar_left + cell * static_cast<int>(most_cells) + 12;
constexpr std::size_t longest_name = 60;

std::string number(double value) {
  char text[32];
  const int n = std::snprintf(text, sizeof text, "%.4g", value);
  return {text, static_cast<std::size_t>(n)};
}

std::string shortened(const std::string& name) {
  // Cut before a byte that begins a character.
  if (name.size() <= longest_name) return name;
  std::size_t from = name.size() - longest_name;
  while (from < name.size() && (name[from] & 0xc0) == 0x80) ++from;
  return "…" + name.substr(from);
}

std::string warmth(double share) {
  const int hue = static_cast<int>(220 - 220 * std::clamp(share, 0.0, 1.0));
  return "hsl(" + std::to_string(hue) + ",75%,50%)";
}

void text_at(std::ostream& out, int x, int y, std::string_view more, const std::string& text) {
  out << "<text x=\"" << x << "\" y=\"" << y << '"' << more << '>' << text << "</text>\n";
}

/// Cells that look alike are one rectangle.
void draw_cells(const picture_bar& bar, int y, std::ostream& out) {
  const auto step = [](double share) {
    return share <= 0 ? 0 : std::clamp(static_cast<int>(std::ceil(share * 8)), 1, 8);
  };
  for (std::size_t i = 0; i < bar.cells.size();) {
    std::size_t end = i + 1;
    while (end < bar.cells.size() && step(bar.cells[end]) == step(bar.cells[i])) ++end;
    if (const int n = step(bar.cells[i]); n > 0) {
      out << "<rect x=\"" << bar_left + static_cast<int>(i) * cell << "\" y=\"" << y << "\" width=\""
          << static_cast<int>(end - i) * cell << "\" height=\"" << row - 4 << "\" fill=\""
          << (bar.hot ? warmth(n / 8.0) : bar.colour) << '"';
      if (!bar.hot) out << " fill-opacity=\"" << number(0.2 + 0.1 * n) << '"';
      out << "/>\n";
    }
    i = end;
  }
}

void draw_bar(const picture_bar& bar, int y, std::ostream& out) {
  const std::string name = printable(bar.name);
  out << "<g><title>" << xml_text(address_text(bar.where.begin) + "-" +
                                  address_text(bar.where.end) + " " + bar.flags + " " +
                                  size_text(bar.where.length()) + " " + bar.note + " " + name)
      << "</title>\n";
  text_at(out, 8, y + row - 4, "",
          address_text(bar.where.begin) + "-" + address_text(bar.where.end) + " " + bar.flags);
  text_at(out, bar_left - 8, y + row - 4, " text-anchor=\"end\"", size_text(bar.where.length()));
  out << "<rect x=\"" << bar_left << "\" y=\"" << y << "\" width=\""
      << static_cast<int>(bar.cells.size()) * cell << "\" height=\"" << row - 4
      << "\" fill=\"#fff\" stroke=\"" << bar.colour << "\" stroke-width=\"0.7\"/>\n";
  draw_cells(bar, y, out);
  text_at(out, name_left, y + row - 4, "",
          xml_text(shortened(bar.note.empty() ? name : bar.note + "  " + name)));
  out << "</g>\n";
}

void draw_gap(u64 length, int y, std::ostream& out) {
  out << "<line x1=\"8\" x2=\"" << width - 8 << "\" y1=\"" << y + row / 2 << "\" y2=\""
      << y + row / 2 << "\" stroke=\"#ccc\" stroke-dasharray=\"2 3\"/>\n";
  text_at(out, bar_left, y + row - 4, " fill=\"#999\"", size_text(length) + " of nothing");
}

}  // namespace

std::size_t cells_for(u64 length) {
  const u64 pages = std::max<u64>(length / page_size, 1);
  const auto by_size = static_cast<std::size_t>(2 + 3.2 * std::log2(static_cast<double>(pages)));
  return std::min<u64>({by_size, pages, most_cells});
}

std::string xml_text(std::string_view text) {
  std::string out;
  for (const char c : printable(text)) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  }
  return out;
}

void write_svg(const picture& what, std::ostream& out) {
  const auto is_gap = [&](std::size_t i) {
    return i > 0 && what.bars[i].where.begin > what.bars[i - 1].where.end;
  };
  int rows = 0;
  for (std::size_t i = 0; i < what.bars.size(); ++i) rows += is_gap(i) ? 2 : 1;
  const int top = 34 + row * static_cast<int>(what.lines.size()) + 64;
  const int height = top + rows * row + 12;

  out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << width << "\" height=\"" << height
      << "\" viewBox=\"0 0 " << width << ' ' << height
      << "\" font-family=\"monospace\" font-size=\"11\">\n<title>" << xml_text(what.title)
      << "</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n";
  text_at(out, 8, 20, " font-size=\"15\" font-weight=\"bold\"", xml_text(what.title));
  int y = 34;
  for (const auto& line : what.lines) text_at(out, 8, (y += row) - 8, "", xml_text(line));

  double x = 8;
  double total = 0;
  for (const auto& l : what.legend) total += l.share;
  for (const auto& l : what.legend) {
    const double w = total > 0 ? l.share / total * (width - 16) : 0;
    if (w > 0)
      out << "<rect x=\"" << number(x) << "\" y=\"" << y + 4 << "\" width=\"" << number(w)
          << "\" height=\"14\" fill=\"" << l.colour << "\"><title>" << xml_text(l.text)
          << "</title></rect>\n";
    x += w;
  }
  int left = 8;
  for (const auto& l : what.legend) {
    out << "<rect x=\"" << left << "\" y=\"" << y + 27 << "\" width=\"10\" height=\"10\" fill=\""
        << l.colour << "\"/>\n";
    text_at(out, left + 14, y + 36, "", xml_text(l.text));
    left += 30 + static_cast<int>(l.text.size()) * 7;
  }

  y = top;
  for (std::size_t i = 0; i < what.bars.size(); ++i) {
    if (is_gap(i)) {
      draw_gap(what.bars[i].where.begin - what.bars[i - 1].where.end, y, out);
      y += row;
    }
    draw_bar(what.bars[i], y, out);
    y += row;
  }
  out << "</svg>\n";
}

void write_html(const picture& what, std::ostream& out) {
  out << "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>"
      << xml_text(what.title)
      << "</title>\n<style>body{margin:1em;background:#fff}svg{max-width:100%;height:auto}"
         "svg g:hover rect{stroke:#000}</style>\n</head>\n<body>\n";
  write_svg(what, out);
  out << "</body>\n</html>\n";
}

}  // namespace ckpt::tools
