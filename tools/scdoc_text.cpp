// SPDX-License-Identifier: MIT
#include "scdoc_text.hpp"

#include <cctype>
#include <vector>

namespace ckpt::tools {

std::string inline_marks(std::string_view line) {
  std::string out;
  bool code = false;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '`') {
      out += '*';
      code = !code;
      continue;
    }
    if (c == '[' && !code) {
      const auto end = line.find("](", i);
      const auto close = end == line.npos ? end : line.find(')', end);
      if (close != line.npos) {
        out += quote_for_scdoc(line.substr(i + 1, end - i - 1));
        i = close;
        continue;
      }
    }
    out += quote_for_scdoc(line.substr(i, 1));
  }
  return out;
}

namespace {

std::string trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text);
}

std::vector<std::string> cells_of(std::string_view row) {
  std::vector<std::string> cells;
  row.remove_prefix(1);
  while (!row.empty()) {
    const auto end = row.find('|');
    cells.push_back(trimmed(row.substr(0, end)));
    if (end == row.npos) break;
    row.remove_prefix(end + 1);
    if (trimmed(row).empty()) break;
  }
  return cells;
}

/// A table that is too wide for a screen: the next to last column is the term, the last explains
/// it, those before stand in brackets, by name.
std::string definitions(const std::vector<std::string>& rows) {
  const auto titles = cells_of(rows[0]);
  const std::size_t term = titles.size() - 2;
  std::string out;
  for (std::size_t r = 2; r < rows.size(); ++r) {
    auto cells = cells_of(rows[r]);
    cells.resize(titles.size());
    std::string before;
    for (std::size_t c = 0; c < term; ++c)
      if (!cells[c].empty())
        before +=
            (before.empty() ? "" : ", ") + inline_marks(titles[c]) + " " + inline_marks(cells[c]);
    out += inline_marks(cells[term]) + (cells[term].empty() ? "(" : " (") + before + ")\n\t" +
           inline_marks(cells[term + 1]) + "\n\n";
  }
  return out;
}

std::string table(const std::vector<std::string>& rows) {
  if (cells_of(rows[0]).size() > 4) return definitions(rows);
  std::vector<bool> right;
  for (const auto& cell : cells_of(rows.at(1))) right.push_back(cell.back() == ':');
  std::string out;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    if (r == 1) continue;
    const auto cells = cells_of(rows[r]);
    for (std::size_t c = 0; c < right.size(); ++c) {
      out += c == 0 ? '|' : ':';
      out += right[c] ? ']' : c + 1 == right.size() ? '<' : '[';
      const std::string cell = c < cells.size() ? inline_marks(cells[c]) : "";
      if (!cell.empty()) out += r == 0 ? " *" + cell + "*" : " " + cell;
      out += '\n';
    }
  }
  return out + '\n';
}

}  // namespace

std::string literal(std::string_view line) {
  std::string out;
  for (const char c : line) out += c == '\\' ? "\\\\" : std::string(1, c);
  return out;
}

std::string quote_for_scdoc(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::string_view("\\*_").find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  // At the beginning of a line these are marks, too.
  if (!out.empty() && std::string_view("#|[].`").find(out[0]) != std::string_view::npos)
    out.insert(0, "\\");
  return out;
}

std::string scdoc_of_markdown(std::istream& in) {
  std::string out;
  bool code = false;
  bool list = false;
  std::vector<std::string> rows;
  const auto blank = [&] {
    if (!out.empty() && !out.ends_with("\n\n")) out += '\n';
  };
  for (std::string line; std::getline(in, line);) {
    if (!rows.empty() && !line.starts_with('|')) {
      blank();
      out += table(rows);
      rows.clear();
    }
    if (line.starts_with("```")) {
      if (!code) blank();
      out += "```\n";
      code = !code;
      if (!code) out += '\n';
    } else if (code) {
      out += literal(line) + '\n';
    } else if (line.starts_with('|')) {
      rows.push_back(line);
    } else if (line.starts_with("<!--") || line.starts_with("# ")) {
      continue;
    } else if (line.starts_with("##")) {
      blank();
      std::string title = line.substr(1);
      std::erase(title, '`');
      if (title.starts_with("# "))
        for (char& c : title) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
      out += title + "\n\n";
    } else if (line.starts_with("- ")) {
      if (!list) blank();
      list = true;
      out += "- " + inline_marks(line.substr(2)) + '\n';
      continue;
    } else if (list && line.starts_with("  ")) {
      out += "  " + inline_marks(line.substr(2)) + '\n';
      continue;
    } else if (line.empty()) {
      blank();
    } else {
      if (list) blank();
      out += inline_marks(line) + '\n';
    }
    list = false;
  }
  if (!rows.empty()) {
    blank();
    out += table(rows);
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace ckpt::tools
