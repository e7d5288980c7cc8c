// SPDX-License-Identifier: MIT
//
// The restarter's own address space: what the kernel mapped for it goes away, the kernel's vDSO
// goes where it is needed.
#pragma once

#include "ckpt/base/range.hpp"
#include "ckpt/base/text.hpp"
#include "ckpt/maps/name.hpp"
#include "ckpt/maps/parser.hpp"

namespace ckpt::restart {

/// The mappings of this process, which the kernel made a moment ago: few.
struct own_mappings {
  struct entry {
    range where;
    maps::special kind = maps::special::none;
  };
  static constexpr u32 capacity = 64;
  entry entries[capacity];
  u32 count = 0;
  bool overflow = false;

  // The handler of maps::parser: a name arrives in pieces, of which the first few bytes matter.
  fixed_text<16> name;
  result<void> on_mapping(const maps::mapping_head& head) {
    name.clear();
    if (count == capacity) {
      overflow = true;
      return {};
    }
    entries[count++] = {head.where, maps::special::none};
    return {};
  }
  result<void> on_name(std::string_view piece) {
    name.append(piece);
    return {};
  }
  static result<void> on_kilobytes(std::string_view, u64) { return {}; }
  static result<void> on_flags(maps::vm_flags) { return {}; }
  result<void> on_mapping_end() {
    if (count > 0 && !overflow) entries[count - 1].kind = maps::special_of(name.view());
    return {};
  }

  result<void> read() {
    count = 0;
    overflow = false;
    sys::unique_fd fd(CKPT_TRY(
        sys::openat(sys::abi::at_fdcwd, "/proc/self/maps", sys::abi::o_rdonly | sys::abi::o_cloexec)));
    char buffer[1024];
    sys::linux_files kernel;
    CKPT_TRY(maps::parse_file(kernel, fd.get(), buffer, *this));
    if (overflow) return errc::buffer_too_small;
    return {};
  }
};

/// [vvar…] and [vdso] of this process: neighbours, moved only together because the code reads the
/// data relative to itself.
struct vdso_group {
  range whole;  // from the first [vvar…] to the end of [vdso]
  range code;
  range pieces[8];
  u32 count = 0;

  static vdso_group find(const own_mappings& own) {
    vdso_group group;
    for (u32 i = 0; i < own.count; ++i) {
      const auto& e = own.entries[i];
      if (e.kind != maps::special::vvar && e.kind != maps::special::vdso) continue;
      if (group.count == 8) return {};
      if (group.count == 0) group.whole.begin = e.where.begin;
      group.whole.end = e.where.end;
      group.pieces[group.count++] = e.where;
      if (e.kind == maps::special::vdso) group.code = e.where;
    }
    return group;
  }

  /// Each piece by mremap, in an order that survives an overlap of old and new place.
  result<void> move_to(u64 begin) {
    if (count == 0 || begin == whole.begin) return {};
    for (u32 n = 0; n < count; ++n) {
      range& piece = pieces[begin < whole.begin ? n : count - 1 - n];
      const u64 to = begin + (piece.begin - whole.begin);
      CKPT_TRY(sys::mremap(piece.begin, piece.length(), piece.length(),
                           sys::abi::mremap_maymove | sys::abi::mremap_fixed, to));
      piece = {to, to + piece.length()};
    }
    const u64 length = whole.length();
    code = {begin + (code.begin - whole.begin), begin + (code.end - whole.begin)};
    whole = {begin, begin + length};
    return {};
  }
};

}  // namespace ckpt::restart
