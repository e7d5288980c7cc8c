// SPDX-License-Identifier: MIT
//
// The program's memory as the image has it, by address: what no extent names is zero.
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "image_file.hpp"

namespace ckpt::tools {

class program_memory {
 public:
  explicit program_memory(image_file& image);

  struct mapping {
    state::segment segment;
    std::string_view name;
    u64 bytes_in_image;

    [[nodiscard]] range where() const {
      return {segment.address, segment.address + segment.length};
    }
  };
  /// In ascending order of address.
  [[nodiscard]] const std::vector<mapping>& mappings() const { return mappings_; }
  [[nodiscard]] const mapping* find(u64 address) const;
  /// How far memory with contents goes on from `address` without a gap; empty when it is nowhere.
  [[nodiscard]] range run_from(u64 address) const;
  /// The caller knows the range to lie within run_from(). Throws image_error for damaged data.
  void read(u64 address, mutable_bytes to);
  /// Calls visit(range) for each run of addresses within the range whose bytes are in the image, in
  /// ascending order; what is between them is zero. A mapping is the range of itself.
  template <class Visitor>
  void for_each_run(range within, Visitor&& visit) const {
    range current{within.begin, within.begin};
    const auto add = [&](range run) {
      run = run.intersect(within);
      if (run.empty()) return;
      if (run.begin != current.end) {
        if (!current.empty()) visit(current);
        current = {run.begin, run.begin};
      }
      current.end = run.end;
    };
    for (const mapping* m = first_from(within.begin); m != nullptr && m->where().begin < within.end;
         m = next(m)) {
      const auto& extents = extents_of(*m);
      // Where offset 0 of the table's own numbers lies.
      const u64 base = m->segment.object == 0 ? 0 : m->segment.address - m->segment.file_offset;
      const range wanted = m->where().intersect(within);
      for (auto e = first_extent(extents, wanted.begin - base);
           e != extents.end() && e->address < wanted.end - base; ++e)
        add(range{e->address + base, e->address + base + e->length}.intersect(wanted));
    }
    if (!current.empty()) visit(current);
  }
  template <class Visitor>
  void for_each_run(const mapping& m, Visitor&& visit) const {
    for_each_run(m.where(), visit);
  }
  /// Likewise of a shared object, by offsets.
  template <class Visitor>
  void for_each_object_run(u64 object, Visitor&& visit) const {
    const auto found = objects_.find(object);
    if (found == objects_.end()) return;
    for (const state::extent& e : found->second)
      visit(range{e.address, e.address + e.length});
  }
  /// Bytes of a shared object, by offset; zeros where it has none.
  void read_object(u64 object, u64 offset, mutable_bytes to);
  /// The address whose byte lies at that offset of the data, if it is the program's memory.
  [[nodiscard]] std::optional<u64> address_of_data(u64 offset) const;

 private:
  using extent_list = std::vector<state::extent>;

  void read(const extent_list& extents, u64 address, mutable_bytes to);
  [[nodiscard]] const mapping* first_from(u64 address) const;
  [[nodiscard]] const mapping* next(const mapping* m) const {
    return m + 1 == mappings_.data() + mappings_.size() ? nullptr : m + 1;
  }
  [[nodiscard]] const extent_list& extents_of(const mapping& m) const {
    return m.segment.object == 0 ? extents_ : objects_.at(m.segment.object);
  }
  [[nodiscard]] static extent_list::const_iterator first_extent(const extent_list& extents,
                                                                u64 address);

  image_file& image_;
  std::vector<mapping> mappings_;
  std::vector<state::extent> extents_;
  std::map<u64, std::vector<state::extent>> objects_;
};

}  // namespace ckpt::tools
