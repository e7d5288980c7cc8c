// SPDX-License-Identifier: MIT
//
// The table of segments, and what they come to.
#include <range/v3/numeric/accumulate.hpp>

#include "columns.hpp"
#include "commands.hpp"
#include "enumerators.hpp"
#include "mapping_kind.hpp"
#include "printable.hpp"
#include "program_memory.hpp"

namespace ckpt::tools {

void print_segments(image_file& image, std::ostream& out) {
  const program_memory memory(image);
  columns table({"ADDRESS", "RWX", "KIND", ">SIZE", ">IN IMAGE", "NAME"});
  for (const auto& m : memory.mappings())
    table.add({address_text(m.where().begin) + "-" + address_text(m.where().end),
               protection_text(m.segment), spoken_name(m.segment.kind.get()),
               size_text(m.segment.length), size_text(m.bytes_in_image), printable(m.name)});
  const auto sum = [&](auto what) {
    return ranges::accumulate(memory.mappings(), u64{0}, std::plus<>(), what);
  };
  table.add({std::to_string(memory.mappings().size()) + " in all", "", "",
             size_text(sum([](const auto& m) { return m.segment.length.get(); })),
             size_text(sum([](const auto& m) { return m.bytes_in_image; })), ""});
  table.print(out);
}

}  // namespace ckpt::tools
