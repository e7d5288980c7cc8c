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
u64 end_of(const program_memory::mapping& m) {
  return m.where().end;
}

}  // namespace

program_memory::program_memory(image_file& image) : image_(image) {
  for (const auto& table : image.all<state::extents>()) {
    auto& extents = table.fields.object == 0 ? extents_ : objects_[table.fields.object];
    for (u64 i = 0; i < table.fields.count; ++i) extents.push_back(image::extent_at(table.tail, i));
  }
  auto extent = extents_.begin();
  for (const auto& [segment, tail] : image.all<state::segment>()) {
    mapping m{segment, text_of_bytes(tail), 0};
    for (; extent != extents_.end() && extent->address < m.where().end; ++extent)
      m.bytes_in_image += extent->length;
    mappings_.push_back(m);
    if (segment.object != 0) {
      objects_.try_emplace(segment.object);
      for_each_run(mappings_.back(),
                   [&](range run) { mappings_.back().bytes_in_image += run.length(); });
    }
  }
}

const program_memory::mapping* program_memory::find(u64 address) const {
  const auto after = ranges::upper_bound(mappings_, address, {}, begin_of);
  if (after == mappings_.begin()) return nullptr;
  const mapping& candidate = *std::prev(after);
  return candidate.where().contains(address) ? &candidate : nullptr;
}

const program_memory::mapping* program_memory::first_from(u64 address) const {
  const auto found = ranges::upper_bound(mappings_, address, {}, end_of);
  return found == mappings_.end() ? nullptr : &*found;
}

program_memory::extent_list::const_iterator program_memory::first_extent(
    const extent_list& extents, u64 address) {
  return ranges::upper_bound(extents, address, {},
                             [](const state::extent& e) { return e.address + e.length; });
}

range program_memory::run_from(u64 address) const {
  range run{address, address};
  for (const mapping* m = find(address); m != nullptr; m = find(run.end)) {
    if (m->segment.kind == state::segment_kind::vvar) break;  // the kernel's, never in an image
    run.end = m->where().end;
  }
  return run;
}

void program_memory::read_object(u64 object, u64 offset, mutable_bytes to) {
  std::ranges::fill(to, std::byte{0});
  const auto found = objects_.find(object);
  if (found != objects_.end()) read(found->second, offset, to);
}

/// What is shared lies in its object, once for all mappings.
void program_memory::read(u64 address, mutable_bytes to) {
  std::ranges::fill(to, std::byte{0});
  read(extents_, address, to);
  const u64 end = address + to.size();
  for (const mapping* m = find(address); m != nullptr;) {
    const range common = m->where().intersect({address, end});
    if (m->segment.object != 0)
      read(objects_[m->segment.object], m->segment.file_offset + (common.begin - m->where().begin),
           to.subspan(common.begin - address, common.length()));
    m = common.end < end ? find(common.end) : nullptr;
  }
}

void program_memory::read(const std::vector<state::extent>& extents, u64 address,
                          mutable_bytes to) {
  const range wanted{address, address + to.size()};
  auto extent = ranges::upper_bound(extents, address, {}, address_of);
  if (extent != extents.begin()) --extent;
  for (; extent != extents.end() && extent->address < wanted.end; ++extent) {
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
