// SPDX-License-Identifier: MIT
//
// The first pages of an image: the restarter as an executable for one fixed address, the hole this
// very program has free, with the image's header in the room the restarter leaves for it.
#pragma once

#include <cstring>

#include "ckpt/image/first_stage.hpp"
#include "ckpt/image/metadata_view.hpp"
#include "ckpt/image/window.hpp"
#include "session.hpp"
#include "symbols.hpp"

namespace ckpt::agent {

namespace elf {
// ELF-64 (System V gABI); only what is patched.
struct header {
  u8 ident[16];
  u16 type, machine;
  u32 version;
  u64 entry, phoff, shoff;
  u32 flags;
  u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct program_header {
  u32 type, flags;
  u64 offset, vaddr, paddr, filesz, memsz, align;
};
inline constexpr u16 et_exec = 2;
inline constexpr u32 pt_load = 1;
}  // namespace elf

class image_head {
 public:
  image_head(mutable_bytes room) : room_(room) {}

  /// The ELF file as it was linked, for address 0.
  [[nodiscard]] static bytes restarter() { return {agent_restarter, agent_restarter_end}; }

  /// Bytes of the image before the metadata.
  [[nodiscard]] static u64 file_size() {
    return extent_of([](const elf::program_header& p) { return p.filesz; });
  }
  /// Bytes of memory the restarter occupies.
  [[nodiscard]] static u64 memory_size() {
    return extent_of([](const elf::program_header& p) { return p.memsz; });
  }

  /// The restarter for address `base`. Whatever offsets the linked file had, in the image file
  /// offset and address go together.
  void place(u64 base) {
    std::memset(room_.data(), 0, room_.size());
    for (u16 i = 0; i < program_headers(); ++i) {
      const auto p = program_header(i);
      if (p.type == elf::pt_load)
        std::memcpy(room_.data() + p.vaddr, restarter().data() + p.offset, p.filesz);
    }
    elf::header h;
    std::memcpy(&h, room_.data(), sizeof h);
    for (u16 i = 0; i < h.phnum; ++i) {
      auto p = program_header(i);
      if (p.type == elf::pt_load) {
        p.offset = p.vaddr;
        p.vaddr += base;
        p.paddr = p.vaddr;
      }
      std::memcpy(room_.data() + h.phoff + i * sizeof p, &p, sizeof p);
    }
    h.type = elf::et_exec;
    h.entry += base;
    h.shoff = 0;
    h.shnum = h.shstrndx = 0;
    std::memcpy(room_.data(), &h, sizeof h);
    image::set_stage_sum(room_);
  }

  /// Of all bytes but the header's.
  [[nodiscard]] u64 checksum() const {
    XXH3_state_t state;
    XXH3_64bits_reset(&state);
    constexpr u64 behind = format::header_offset + sizeof(format::file_header);
    XXH3_64bits_update(&state, room_.data(), format::header_offset);
    XXH3_64bits_update(&state, room_.data() + behind, room_.size() - behind);
    return XXH3_64bits_digest(&state);
  }

  void set_header(const format::file_header& h) {
    std::memcpy(room_.data() + format::header_offset, &h, sizeof h);
  }

  [[nodiscard]] bytes view() const { return room_; }

 private:
  static u16 program_headers() {
    elf::header h;
    std::memcpy(&h, restarter().data(), sizeof h);
    return h.phnum;
  }
  static elf::program_header program_header(u16 i) {
    elf::header h;
    std::memcpy(&h, restarter().data(), sizeof h);
    elf::program_header p;
    std::memcpy(&p, restarter().data() + h.phoff + i * sizeof p, sizeof p);
    return p;
  }
  template <class Size>
  static u64 extent_of(Size size) {
    u64 end = 0;
    for (u16 i = 0; i < program_headers(); ++i) {
      const auto p = program_header(i);
      if (p.type == elf::pt_load && p.vaddr + size(p) > end) end = p.vaddr + size(p);
    }
    return page_up(end);
  }

  mutable_bytes room_;
};

}  // namespace ckpt::agent
