// SPDX-License-Identifier: MIT
//
// Parts of shared memory whose bytes the program keeps out of images (ckpt_region). What is said of
// an address holds for the memory behind it, wherever else it can be seen.
#pragma once

#include <cstring>

#include "ckpt/maps/parser.hpp"
#include "regions.hpp"
#include "session.hpp"

namespace ckpt::agent {

class hidden_parts {
 public:
  struct part {
    u64 device, inode;
    range where;     // in the object
    u64 address;     // of its first byte
    bool omitted;    // the program has no more use for the mapping itself
    bool whole;      // all of a mapping
  };

  /// What regions say of one mapping.
  // Context: helper, all threads frozen
  result<void> add(session& s, const maps::mapping_head& head, region_view regions) {
    if (room_.empty()) room_ = CKPT_TRY(s.arena.take(room_size));
    for (const region& r : regions.all()) {
      const range seen = r.where.intersect(head.where);
      if (seen.empty()) continue;
      if (count_ == room_size / sizeof(part))
        return s.why.refuse("more than ", room_size / sizeof(part),
                            " regions (ckpt_region) lie in shared memory");
      const u64 offset = head.offset + (seen.begin - head.where.begin);
      const part p{head.device, head.inode, {offset, offset + seen.length()}, seen.begin,
                   r.kind == region_kind::omit, seen == head.where};
      std::memcpy(room_.data() + count_++ * sizeof p, &p, sizeof p);
    }
    return {};
  }

  template <class Visitor>
  void for_each(u64 device, u64 inode, Visitor&& visit) const {
    for (u64 i = 0; i < count_; ++i) {
      part p;
      std::memcpy(&p, room_.data() + i * sizeof p, sizeof p);
      if (p.device == device && p.inode == inode) visit(p);
    }
  }
  /// Whether some byte of it is hidden.
  [[nodiscard]] bool touches(u64 device, u64 inode, range where) const {
    bool found = false;
    for_each(device, inode, [&](const part& p) { found = found || p.where.overlaps(where); });
    return found;
  }
  /// Whether all of it is, by one part.
  [[nodiscard]] bool covers(u64 device, u64 inode, range where) const {
    bool found = false;
    for_each(device, inode, [&](const part& p) { found = found || p.where.contains(where); });
    return found;
  }
  /// `copy` is what is at `offset`.
  void wipe(u64 device, u64 inode, u64 offset, mutable_bytes copy) const {
    for_each(device, inode, [&](const part& p) {
      const range gone = p.where.intersect({offset, offset + copy.size()});
      if (!gone.empty()) std::memset(copy.data() + (gone.begin - offset), 0, gone.length());
    });
  }

 private:
  static constexpr u64 room_size = 64 * 1024;
  mutable_bytes room_;
  u64 count_ = 0;
};

}  // namespace ckpt::agent
