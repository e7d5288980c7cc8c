// SPDX-License-Identifier: MIT
//
// The frozen program's mappings, from the lines of smaps: what each becomes in the image, or why it
// cannot be saved.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"
#include "ckpt/state/mapping_kind.hpp"
#include "regions.hpp"
#include "session.hpp"
#include "shared_objects.hpp"

namespace ckpt::agent {

/// Memory of ours that no image contains: arena and table have no place in the map at all, the
/// scratch keeps its place and is zero.
struct own_memory {
  range arena;
  range scratch;
  range table;  // of descriptors, for callbacks
};

/// Turns the lines of smaps into segments. The handler of maps::parser.
class segment_recorder {
 public:
  segment_recorder(format::metadata_builder& out, own_memory own, region_view regions,
                   shared_objects& objects, report& why)
      : out_(out), own_(own), regions_(regions), objects_(objects), why_(why) {}

  result<void> on_mapping(const maps::mapping_head& head) {
    head_ = head;
    name_.clear();
    flags_ = {};
    huge_bytes_ = 0;
    use_ = {};
    return {};
  }
  result<void> on_name(std::string_view piece) {
    name_.append(piece);
    return {};
  }
  result<void> on_kilobytes(std::string_view key, u64 kilobytes) {
    if (key == "AnonHugePages") huge_bytes_ = kilobytes * 1024;
    if (key == "Shared_Clean" || key == "Shared_Dirty") use_.elsewhere += kilobytes * 1024;
    if (key == "Swap") use_.swapped += kilobytes * 1024;
    return {};
  }
  result<void> on_flags(maps::vm_flags flags) {
    flags_ = flags;
    return {};
  }
  result<void> on_mapping_end() {
    if (head_.shared && regions_.touches(head_.where)) CKPT_TRY(objects_.hide(head_, regions_));
    if (is_left_out()) return {};
    const auto kind = CKPT_TRY(classify());
    if (kind == no_segment) return {};
    // A stack with a hole could not grow over it: there, memory that is left out is zero.
    const bool whole = kind == kind_t::stack || kind == kind_t::vvar || kind == kind_t::vdso;
    // Ours may have merged with a neighbour: what lies on either side is the program's.
    return beside(own_.arena, head_.where, [&](range part) {
      return beside(own_.table, part, [&](range piece) {
        if (whole) return add(kind, piece);
        return regions_.each_mapped(piece, [&](range mapped) { return add(kind, mapped); });
      });
    });
  }

 private:
  using kind_t = state::segment_kind;
  static constexpr kind_t no_segment = kind_t{};

  template <class Visitor>
  static result<void> beside(range hole, range where, Visitor&& visit) {
    if (!where.overlaps(hole)) return visit(where);
    const range below = where.intersect({0, hole.begin});
    const range above = where.intersect({hole.end, ~u64{0}});
    if (!below.empty()) CKPT_TRY(visit(below));
    if (!above.empty()) CKPT_TRY(visit(above));
    return {};
  }

  /// All of it is omitted: then it does not matter what it is.
  [[nodiscard]] bool is_left_out() const {
    const auto special = maps::special_of(name_.view());
    if (special == maps::special::vdso || special == maps::special::vvar ||
        flags_.has(maps::vm_flag::grows_down))
      return false;
    bool left = false;
    (void)regions_.each_mapped(head_.where, [&](range) -> result<void> {
      left = true;
      return {};
    });
    return !left;
  }

  result<kind_t> classify() {
    const auto kind = CKPT_TRY(state::kind_of_mapping(head_, name_.view(), flags_, why_));
    if (kind != kind_t::shared) return kind;
    object_ = CKPT_TRY(objects_.add_mapping(head_, name_.view(), flags_, use_));
    return object_ != 0 ? kind_t::shared : kind_t::shared_file;
  }

  result<void> add(kind_t kind, range where) {
    state::segment s{};
    s.address = where.begin;
    s.length = where.length();
    s.kind = kind;
    s.protection = wire::flags<state::protection>(head_.protection);
    s.vm_flags = flags_.bits();
    s.huge_bytes = huge_bytes_;
    s.file_offset = head_.inode != 0 ? head_.offset + (where.begin - head_.where.begin) : 0;
    s.device = head_.device;
    s.inode = head_.inode;
    s.object = kind == kind_t::shared ? object_ : 0;
    return out_.add(s, bytes_of_text(name_.view()));
  }

  format::metadata_builder& out_;
  own_memory own_;
  region_view regions_;
  maps::mapping_head head_;
  maps::vm_flags flags_;
  u64 huge_bytes_ = 0;
  shared_objects& objects_;
  mapping_use use_;
  report& why_;
  u64 object_ = 0;
  fixed_text<4200> name_;  // cut where a path is longer than PATH_MAX; it is only shown
};

}  // namespace ckpt::agent
