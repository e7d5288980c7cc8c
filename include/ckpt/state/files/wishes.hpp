// SPDX-License-Identifier: MIT
//
// What the user (--ignore-fd) and the program (ckpt_fds) want of descriptors: to be closed after a
// restart, whether or not they could be saved, or to be opened under another path.
#pragma once

#include "ckpt/base/sort.hpp"
#include "ckpt/options/ignored.hpp"

namespace ckpt::state {

/// What the program has said of one descriptor.
struct descriptor_wish {
  i32 fd = -1;
  bool says_treatment = false;
  bool ignore = false;
  std::string_view path;  // empty: as it is
  u32 file = ~u32{0};     // in a restart, the open_file that the path is for
};

struct descriptor_wishes {
  std::span<const descriptor_wish> said;  // by ascending number
  options::ignored_descriptors ignored;

  [[nodiscard]] const descriptor_wish* find(i32 fd) const {
    const u64 i = first_not(said, [&](const descriptor_wish& w) { return w.fd < fd; });
    return i < said.size() && said[i].fd == fd ? &said[i] : nullptr;
  }
  /// What the program says counts more than what the user does.
  [[nodiscard]] bool ignores(i32 fd) const {
    const descriptor_wish* w = find(fd);
    return w != nullptr && w->says_treatment ? w->ignore : ignored.has(fd);
  }
  /// Of what cannot be saved.
  [[nodiscard]] bool forgives(bool socket) const {
    return ignored.all || (socket && ignored.sockets);
  }
};

}  // namespace ckpt::state
