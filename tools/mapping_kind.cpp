// SPDX-License-Identifier: MIT
//
// The kernel names the first heap and the first stack; the other stacks are where threads have one.
#include "mapping_kind.hpp"

#include <algorithm>

namespace ckpt::tools {

std::string_view word_of(mapping_kind kind) {
  constexpr std::string_view words[] = {"program",   "file",   "heap",  "stack",
                                        "anonymous", "shared", "kernel"};
  return words[static_cast<std::size_t>(kind)];
}

std::string_view colour_of(mapping_kind kind) {
  constexpr std::string_view colours[] = {"#1b6ca8", "#4fa3d1", "#d1495b", "#edae49",
                                          "#66a182", "#8e6c8a", "#8d99ae"};
  return colours[static_cast<std::size_t>(kind)];
}

mapping_classes::mapping_classes(const image_file& image)
    : program_(image.text(state::text_kind::program)) {
  const auto layout = image.one<state::memory_layout>().fields;
  heap_ = {layout.start_brk, layout.brk};
  for (const auto& [t, tail] : image.all<state::thread>()) stack_pointers_.push_back(t.rsp);
  std::ranges::sort(stack_pointers_);
}

mapping_kind mapping_classes::of(const program_memory::mapping& m) const {
  using state::segment_kind;
  switch (m.segment.kind.get()) {
    case segment_kind::stack: return mapping_kind::stack;
    case segment_kind::vdso:
    case segment_kind::vvar: return mapping_kind::kernel;
    case segment_kind::shared: return mapping_kind::shared;
    default: break;
  }
  if (!program_.empty() && m.name == program_) return mapping_kind::program;
  if (m.segment.inode != 0) return mapping_kind::file;
  if (m.name == "[heap]" || heap_.overlaps(m.where())) return mapping_kind::heap;
  const auto first = std::ranges::lower_bound(stack_pointers_, m.where().begin);
  const bool stacked = first != stack_pointers_.end() && *first < m.where().end;
  return m.name.starts_with("[stack") || stacked ? mapping_kind::stack : mapping_kind::anonymous;
}

void add_to_cells(std::vector<double>& cells, range whole, range run) {
  run = run.intersect(whole);
  if (run.empty() || cells.empty()) return;
  const double part = static_cast<double>(whole.length()) / static_cast<double>(cells.size());
  const double begin = static_cast<double>(run.begin - whole.begin) / part;
  const double end = static_cast<double>(run.end - whole.begin) / part;
  for (auto i = static_cast<std::size_t>(begin); i < cells.size() && static_cast<double>(i) < end;
       ++i)
    cells[i] += std::min(end, static_cast<double>(i + 1)) - std::max(begin, static_cast<double>(i));
}

std::vector<double> density(const program_memory& memory, const program_memory::mapping& m,
                            std::size_t cells) {
  std::vector<double> shares(cells, 0.0);
  memory.for_each_run(m, [&](range run) { add_to_cells(shares, m.where(), run); });
  return shares;
}

std::string protection_text(const state::segment& s) {
  using state::protection;
  std::string text = "---";
  if (s.protection.has(protection::read)) text[0] = 'r';
  if (s.protection.has(protection::write)) text[1] = 'w';
  if (s.protection.has(protection::execute)) text[2] = 'x';
  return text;
}

}  // namespace ckpt::tools
