// SPDX-License-Identifier: MIT
//
// The kernel's vDSO, once the program's memory is there.
#pragma once

#include "vdso.hpp"
#include "work.hpp"

namespace ckpt::restart {
namespace {

/// Same build: back to its old place. Another: the old page becomes plain memory that leads to it.
void place_vdso(bytes metadata, mutable_bytes saved_code) {
  range saved{~u64{0}, 0};
  range saved_text{};
  u32 pieces = 0;
  bool same_shape = true;
  u32 index = 0;
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind != state::segment_kind::vvar && s.kind != state::segment_kind::vdso) return;
    if (saved.begin > s.address) saved.begin = s.address;
    saved.end = s.address + s.length;
    if (s.kind == state::segment_kind::vdso) saved_text = {s.address, s.address + s.length};
    ++pieces;
  });
  auto& now = global.vdso;
  if (pieces == 0) return;  // the program had unmapped it
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind != state::segment_kind::vvar && s.kind != state::segment_kind::vdso) return;
    if (index < now.count) {
      const range& piece = now.pieces[index];
      same_shape = same_shape && piece.begin - now.whole.begin == s.address - saved.begin &&
                   piece.length() == s.length;
    }
    ++index;
  });
  same_shape = same_shape && pieces == now.count && saved.length() == now.whole.length();
  const auto saved_bytes = saved_code.first(saved_text.length());
  if (same_shape && std::memcmp(saved_bytes.data(), reinterpret_cast<const void*>(now.code.begin),
                                saved_bytes.size()) == 0) {
    require(now.move_to(saved.begin), "cannot move the vDSO back to its place");
    return;
  }
  if (saved_text.empty()) return;
  // Whoever is still within an old function, beneath a handler say, reads zeros in place of the
  // kernel's pages, which say that there is no clock to read, and so makes the system call.
  image::for_each<state::segment>(metadata, [&](const state::segment& s, bytes) {
    if (s.kind == state::segment_kind::vvar)
      (void)sys::mmap(s.address, s.length, sys::abi::prot_read,
                      sys::abi::map_private | sys::abi::map_anonymous |
                          sys::abi::map_fixed_noreplace,
                      -1, 0);
  });
  const auto at = sys::mmap(saved_text.begin, saved_text.length(),
                            sys::abi::prot_read | sys::abi::prot_write,
                            sys::abi::map_private | sys::abi::map_anonymous |
                                sys::abi::map_fixed_noreplace,
                            -1, 0);
  if (!at.ok()) require(at.error(), "cannot map the saved vDSO");
  const mutable_bytes page(reinterpret_cast<std::byte*>(*at), saved_text.length());
  std::memcpy(page.data(), saved_bytes.data(), saved_bytes.size());
  if (now.count > 0)
    relink_vdso(page, {reinterpret_cast<const std::byte*>(now.code.begin), now.code.length()});
  require(sys::mprotect(saved_text.begin, saved_text.length(),
                        sys::abi::prot_read | sys::abi::prot_exec),
          "cannot protect the saved vDSO");
  global.handover.keep = now.whole;
}

}  // namespace
}  // namespace ckpt::restart
