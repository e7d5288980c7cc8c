// SPDX-License-Identifier: MIT
//
// Segments and extents both ascend in a valid image, and extents ascend in the data as well, so
// everything is found by bisection.
#include "program_memory.hpp"

#include <algorithm>
#include <range/v3/algorithm/upper_bound.hpp>

namespace ckpt::tools {

namespace {

u64 address_of(const state::extent& e) {
  return e.address;
}
u64 begin_of(const program_memory::mapping& m) {
  return m.segment.address;
}

}  // namespace

program_memory::program_memory(image_file& image) : image_(image) {
  for (const auto& table : image.all<state::extents>()) {
    if (table.fields.object != 0) continue;
    for (u64 i = 0; i < table.fields.count; ++i)
      extents_.push_back(image::extent_at(table.tail, i));
  }
  auto extent = extents_.begin();
  for (const auto& [segment, tail] : image.all<state::segment>()) {
    mapping m{segment, text_of_bytes(tail), 0};
    for (; extent != extents_.end() && extent->address < m.where().end; ++extent)
      m.bytes_in_image += extent->length;
    mappings_.push_back(m);
  }
}

const program_memory::mapping* program_memory::find(u64 address) const {
  const auto after = ranges::upper_bound(mappings_, address, {}, begin_of);
  if (after == mappings_.begin()) return nullptr;
  const mapping& candidate = *std::prev(after);
  return candidate.where().contains(address) ? &candidate : nullptr;
}

range program_memory::run_from(u64 address) const {
  range run{address, address};
  for (const mapping* m = find(address); m != nullptr; m = find(run.end)) {
    if (m->segment.kind == state::segment_kind::vvar) break;  // the kernel's, never in an image
    run.end = m->where().end;
  }
  return run;
}

void program_memory::read(u64 address, mutable_bytes to) {
  std::ranges::fill(to, std::byte{0});
  const range wanted{address, address + to.size()};
  auto extent = ranges::upper_bound(extents_, address, {}, address_of);
  if (extent != extents_.begin()) --extent;
  for (; extent != extents_.end() && extent->address < wanted.end; ++extent) {
    const range held{extent->address, extent->address + extent->length};
    const range common = held.intersect(wanted);
    if (common.empty()) continue;
    image_.read_data(extent->data + (common.begin - held.begin),
                     to.subspan(common.begin - address, common.length()));
  }
}

std::optional<u64> program_memory::address_of_data(u64 offset) const {
  const auto after = ranges::upper_bound(extents_, offset, {},
                                         [](const state::extent& e) { return e.data.get(); });
  if (after == extents_.begin()) return std::nullopt;
  const state::extent& candidate = *std::prev(after);
  if (offset - candidate.data >= candidate.length) return std::nullopt;
  return candidate.address + (offset - candidate.data);
}

}  // namespace ckpt::tools
