// SPDX-License-Identifier: MIT
//
// The address space of the program: what is where, how dense, what was file, heap, stack.
#include <array>
#include <sstream>

#include "columns.hpp"
#include "commands.hpp"
#include "json_stream.hpp"
#include "mapping_kind.hpp"
#include "output_file.hpp"
#include "picture.hpp"
#include "picture_output.hpp"
#include "printable.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

namespace {

constexpr std::size_t text_cells = 24;

struct totals {
  u64 mappings = 0;
  u64 mapped = 0;
  u64 in_image = 0;
};

std::array<totals, mapping_kinds> totals_of(const program_memory& memory,
                                            const mapping_classes& classes) {
  std::array<totals, mapping_kinds> all{};
  for (const auto& m : memory.mappings()) {
    auto& t = all.at(static_cast<std::size_t>(classes.of(m)));
    ++t.mappings;
    t.mapped += m.where().length();
    t.in_image += m.bytes_in_image;
  }
  return all;
}

std::string share_text(u64 part, u64 whole) {
  if (whole == 0) return "";
  return std::to_string(static_cast<int>(100 * static_cast<double>(part) /
                                         static_cast<double>(whole))) + "%";
}

void map_json(const program_memory& memory, const mapping_classes& classes, const request& asked,
              std::ostream& out) {
  json_stream to(out);
  begin_document(to, asked);
  to.begin_array("kinds");
  const auto all = totals_of(memory, classes);
  for (std::size_t k = 0; k < all.size(); ++k)
    to.value({{"kind", word_of(static_cast<mapping_kind>(k))},
              {"mappings", all.at(k).mappings},
              {"mapped", all.at(k).mapped},
              {"in_image", all.at(k).in_image}});
  to.end_array();
  to.begin_array("mappings");
  for (const auto& m : memory.mappings()) {
    json cells = json::array();
    for (const double d : density(memory, m, cells_for(m.where().length())))
      cells.push_back(static_cast<int>(d * 100 + 0.5));
    to.value({{"address", hex_number(m.where().begin)},
              {"length", m.where().length()},
              {"kind", word_of(classes.of(m))},
              {"protection", protection_text(m.segment)},
              {"in_image", m.bytes_in_image},
              {"density", cells},
              {"name", text_json(m.name)}});
  }
  to.end_array();
  to.end_object();
}

void map_text(const program_memory& memory, const mapping_classes& classes, std::ostream& out) {
  columns sums({"KIND", ">MAPPINGS", ">SIZE", ">IN IMAGE"});
  const auto all = totals_of(memory, classes);
  for (std::size_t k = 0; k < all.size(); ++k)
    if (const auto& t = all.at(k); t.mappings > 0)
      sums.add({std::string(word_of(static_cast<mapping_kind>(k))), std::to_string(t.mappings),
                size_text(t.mapped), size_text(t.in_image)});
  sums.print(out);
  out << '\n';
  columns table({"ADDRESS", "RWX", "WHAT", ">SIZE", ">IN IMAGE", ">FULL"});
  u64 end = 0;
  for (const auto& m : memory.mappings()) {
    if (end != 0 && m.where().begin > end)
      table.add({"", "", "", size_text(m.where().begin - end), "", "gap"}, tint::faint);
    end = m.where().end;
    table.add({address_text(m.where().begin) + "-" + address_text(m.where().end),
               protection_text(m.segment), std::string(word_of(classes.of(m))),
               size_text(m.where().length()), size_text(m.bytes_in_image),
               share_text(m.bytes_in_image, m.where().length())});
    std::string strip = "|";
    const auto cells = density(memory, m, std::min(text_cells, cells_for(m.where().length())));
    for (const double d : cells) strip += heat_cell(out, d);
    strip += "|" + std::string(text_cells - cells.size(), ' ');
    if (!m.name.empty()) strip += "  " + printable(m.name);
    strip.erase(strip.find_last_not_of(' ') + 1);
    table.trail(strip);
  }
  table.print(out);
}

picture picture_of(const image_file& image, const program_memory& memory,
                   const mapping_classes& classes, const request& asked) {
  picture p;
  const auto process = image.one<state::process>().fields;
  p.title = "Memory of " + std::string(image.text(state::text_kind::program)) + " in " +
            asked.image();
  const auto all = totals_of(memory, classes);
  totals sum;
  for (std::size_t k = 0; k < all.size(); ++k) {
    const auto& t = all.at(k);
    sum.mappings += t.mappings;
    sum.mapped += t.mapped;
    sum.in_image += t.in_image;
    if (t.mappings == 0) continue;
    const auto kind = static_cast<mapping_kind>(k);
    p.legend.push_back({std::string(colour_of(kind)),
                        std::string(word_of(kind)) + " " + size_text(t.in_image) + " of " +
                            size_text(t.mapped),
                        static_cast<double>(t.in_image)});
  }
  p.lines = {"process " + std::to_string(process.pid) + ": " +
                 shell_line(image.words(state::text_kind::command_line)).substr(0, 150),
             std::to_string(sum.mappings) + " mappings, " + size_text(sum.mapped) + ", of which " +
                 size_text(sum.in_image) +
                 " are in the image; the rest is zero. The darker a cell, the fuller it is."};
  for (const auto& m : memory.mappings())
    p.bars.push_back({m.where(), protection_text(m.segment), std::string(colour_of(classes.of(m))),
                      "", std::string(m.name), density(memory, m, cells_for(m.where().length()))});
  return p;
}

}  // namespace

void draw_map(image_file& image, const request& asked, std::ostream& out) {
  const program_memory memory(image);
  const mapping_classes classes(image);
  if (asked.json)
    map_json(memory, classes, asked, out);
  else if (asked.format == "text")
    map_text(memory, classes, out);
  else
    write_picture(picture_of(image, memory, classes, asked), asked);
}

}  // namespace ckpt::tools
