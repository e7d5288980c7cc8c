// SPDX-License-Identifier: MIT
//
// A program remembers addresses inside the vDSO of the kernel it was started on. On a kernel with
// another build of it, the old page stays as plain memory and each old entry point jumps to the
// new kernel's function of the same name; a function the new kernel lacks becomes the plain system
// call, which is what the vDSO itself falls back to.
// Source: vdso(7), ELF-64 object file format, psABI.
#pragma once

#include <cstring>

#include "ckpt/base/range.hpp"
#include "ckpt/sys/calls.hpp"

namespace ckpt::restart {

/// The dynamic symbols of an ELF image that lies whole in memory. Every access is checked: the
/// old vDSO comes from a file.
class elf_symbols {
 public:
  struct function {
    std::string_view name;
    u64 offset;
    u64 size;
  };

  explicit elf_symbols(bytes image) : image_(image) {
    u64 phoff = 0;
    u16 phnum = 0;
    if (!get(32, phoff) || !get(56, phnum)) return;
    u64 dynamic = 0, dynamic_size = 0;
    for (u16 i = 0; i < phnum; ++i) {
      const u64 at = phoff + u64{i} * 56;
      u32 type = 0;
      u64 offset = 0, address = 0, size = 0;
      if (!get(at, type) || !get(at + 8, offset) || !get(at + 16, address) || !get(at + 32, size))
        return;
      if (type == 1 && base_ == ~u64{0}) base_ = address - offset;  // PT_LOAD
      if (type == 2) {                                             // PT_DYNAMIC
        dynamic = offset;
        dynamic_size = size;
      }
    }
    for (u64 at = dynamic; at + 16 <= dynamic + dynamic_size; at += 16) {
      u64 tag = 0, value = 0;
      if (!get(at, tag) || !get(at + 8, value) || tag == 0) break;
      if (tag == 5) strings_ = value - base_;   // DT_STRTAB
      if (tag == 6) symbols_ = value - base_;   // DT_SYMTAB
      if (tag == 10) strings_size_ = value;     // DT_STRSZ
    }
  }

  /// Calls visit(function) for each defined function. The symbol table has no length of its own;
  /// in a vDSO as in every linked object, the string table follows it.
  template <class Visitor>
  void for_each(Visitor&& visit) const {
    if (symbols_ == 0 || strings_ <= symbols_) return;
    for (u64 at = symbols_ + 24; at + 24 <= strings_; at += 24) {
      u32 name = 0;
      u8 info = 0;
      u16 section = 0;
      u64 value = 0, size = 0;
      if (!get(at, name) || !get(at + 4, info) || !get(at + 6, section) || !get(at + 8, value) ||
          !get(at + 16, size))
        return;
      if ((info & 15) != 2 || section == 0) continue;  // STT_FUNC, defined
      const auto text = string(name);
      if (!text.empty()) visit(function{text, value - base_, size});
    }
  }

  [[nodiscard]] u64 find(std::string_view name) const {
    u64 found = 0;
    for_each([&](const function& f) {
      if (f.name == name) found = f.offset;
    });
    return found;
  }

 private:
  template <class T>
  bool get(u64 at, T& value) const {
    if (at > image_.size() || image_.size() - at < sizeof value) return false;
    std::memcpy(&value, image_.data() + at, sizeof value);
    return true;
  }
  [[nodiscard]] std::string_view string(u64 at) const {
    if (at >= strings_size_ || strings_ > image_.size() || strings_ + at >= image_.size()) return {};
    const char* text = reinterpret_cast<const char*>(image_.data() + strings_ + at);
    const u64 room = image_.size() - strings_ - at;
    for (u64 n = 0; n < room; ++n)
      if (text[n] == '\0') return {text, n};
    return {};
  }

  bytes image_;
  u64 base_ = ~u64{0};
  u64 strings_ = 0, strings_size_ = 0, symbols_ = 0;
};

namespace vdso_detail {
struct fallback {
  std::string_view name;
  u32 number;
};
inline constexpr fallback fallbacks[] = {
    {"clock_gettime", __NR_clock_gettime}, {"gettimeofday", __NR_gettimeofday},
    {"clock_getres", __NR_clock_getres},   {"time", __NR_time},
    {"getcpu", __NR_getcpu},
};

/// jmp *[rip+0] with the target behind it: reaches every address and changes no register.
inline u32 jump(u8 (&code)[32], u64 target) {
  constexpr u8 opcode[] = {0xff, 0x25, 0, 0, 0, 0};
  std::memcpy(code, opcode, sizeof opcode);
  std::memcpy(code + sizeof opcode, &target, sizeof target);
  return 14;
}
/// mov eax, number; syscall; ret
inline u32 plain_call(u8 (&code)[32], u32 number) {
  code[0] = 0xb8;
  std::memcpy(code + 1, &number, sizeof number);
  code[5] = 0x0f, code[6] = 0x05, code[7] = 0xc3;
  return 8;
}
/// mov rax, -ENOSYS; ret
inline constexpr u8 not_implemented[] = {0x48, 0xc7, 0xc0, 0xda, 0xff, 0xff, 0xff, 0xc3};
/// Its first three arguments are those of getrandom(2), which needs no state of the caller's. How large a
/// state is to be (the fifth is -1: cmp r8, -1; je) only the kernel's own function can tell.
inline u32 plain_getrandom(u8 (&code)[32]) {
  constexpr u8 asks_for_size[] = {0x49, 0x83, 0xf8, 0xff, 0x74, 0x08};
  std::memcpy(code, asks_for_size, sizeof asks_for_size);
  u8 call[32];
  const u32 length = plain_call(call, __NR_getrandom);
  std::memcpy(code + sizeof asks_for_size, call, length);
  std::memcpy(code + sizeof asks_for_size + length, not_implemented, sizeof not_implemented);
  return sizeof asks_for_size + length + sizeof not_implemented;
}
}  // namespace vdso_detail

/// `old_image` is the saved vDSO as plain writable memory, `current` the kernel's own.
// Context: restarter, no libc
inline void relink_vdso(mutable_bytes old_image, bytes current) {
  const elf_symbols old_symbols(old_image);
  const elf_symbols new_symbols(current);
  old_symbols.for_each([&](const elf_symbols::function& f) {
    u8 code[32];
    u32 length = 0;
    if (const u64 offset = new_symbols.find(f.name); offset != 0 && offset < current.size()) {
      length = vdso_detail::jump(code, reinterpret_cast<u64>(current.data()) + offset);
    } else {
      std::string_view plain = f.name;
      if (plain.starts_with("__vdso_")) plain.remove_prefix(7);
      if (plain == "getrandom") length = vdso_detail::plain_getrandom(code);
      if (length > f.size) length = 0;
      for (const auto& known : vdso_detail::fallbacks)
        if (known.name == plain) length = vdso_detail::plain_call(code, known.number);
    }
    if (length == 0) {
      length = sizeof vdso_detail::not_implemented;
      std::memcpy(code, vdso_detail::not_implemented, length);
    }
    if (f.offset < old_image.size() && old_image.size() - f.offset >= length)
      std::memcpy(old_image.data() + f.offset, code, length);
  });
}

}  // namespace ckpt::restart
