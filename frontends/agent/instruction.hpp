// SPDX-License-Identifier: MIT
//
// Reads x86-64 machine code as far as it takes to find who has set a register: how long an
// instruction is, which registers it writes, and where the value comes from. What it does not know
// it says so; it never guesses.
// Source: Intel SDM vol. 2, appendix A.
#pragma once

#include <cstring>

#include "ckpt/base/types.hpp"

namespace ckpt::agent {

/// Numbers of registers as instructions encode them.
enum gpr : u8 { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };
inline constexpr u32 every_register = 0xffff;

struct instruction {
  enum class source : u8 { unknown, constant, copy, load };
  u8 length = 0;               // 0: not known
  bool leaves = false;         // never goes on to the next instruction
  bool stores = false;         // may write memory
  source from = source::unknown;
  u8 other = 0;                // the register copied from, or the base of the address
  bool wide = false;           // a load of 64 bits
  u32 writes = 0;              // one bit for each register
  i64 value = 0;               // the constant, the displacement, or the distance of a jump
  bool jumps = false;          // value is the distance to where it may go
};

namespace decoding {

struct cursor {
  const u8* at;
  const u8* end;
  bool short_of = false;
  constexpr u8 byte() {
    if (at >= end) {
      short_of = true;
      return 0;
    }
    return *at++;
  }
  constexpr i64 number(int size) {
    u64 all = 0;
    for (int i = 0; i < size; ++i) all |= u64{byte()} << (8 * i);
    if (size == 1) return static_cast<signed char>(all);
    if (size == 2) return static_cast<i16>(all);
    if (size == 4) return static_cast<i32>(all);
    return static_cast<i64>(all);
  }
};

struct operands {
  u8 mode = 0, reg = 0, rm = 0, digit = 0;
  bool plain = false;  // memory at a register and a displacement
  i64 displacement = 0;
};

constexpr operands modrm(cursor& c, u8 rex) {
  operands o;
  const u8 m = c.byte();
  o.mode = m >> 6;
  o.digit = m >> 3 & 7;
  o.reg = static_cast<u8>(o.digit | (rex & 4) << 1);
  o.rm = static_cast<u8>((m & 7) | (rex & 1) << 3);
  if (o.mode == 3) return o;
  o.plain = true;
  bool base = true;
  if ((m & 7) == 4) {
    const u8 sib = c.byte();
    o.plain = (sib >> 3 & 7) == 4 && (rex & 2) == 0;
    o.rm = static_cast<u8>((sib & 7) | (rex & 1) << 3);
    base = (sib & 7) != 5 || o.mode != 0;
  } else if ((m & 7) == 5 && o.mode == 0) {
    base = false;
  }
  if (o.mode == 1) o.displacement = c.number(1);
  if (o.mode == 2 || !base) o.displacement = c.number(4);
  o.plain = o.plain && base;
  return o;
}

/// Those of the vector instructions in the 0f map that have a constant of one byte.
constexpr bool vector_constant(u8 op) {
  return (op >= 0x70 && op <= 0x73) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6);
}
/// Those of them that write a general register: cvt…2si, movmsk, movd, pextrw, kmov, pmovmskb.
constexpr bool vector_to_general(u8 op) {
  return op == 0x2c || op == 0x2d || op == 0x50 || op == 0x7e || (op >= 0x90 && op <= 0x9f) ||
         op == 0xc5 || op == 0xd7;
}

}  // namespace decoding

/// The instruction at the beginning of [code, end); length 0 when it is none that is known.
// Context: any, no libc
constexpr instruction decode(const u8* code, const u8* end) {
  using decoding::operands;
  decoding::cursor c{code, end};
  instruction i;
  bool narrow = false, repeat = false, segment = false;
  u8 rex = 0, op = 0;
  for (int prefixes = 0;; ++prefixes) {
    op = c.byte();
    if (prefixes > 4) return {};
    if (op == 0x66) narrow = true;
    else if (op == 0xf2 || op == 0xf3) repeat = true;
    else if (op == 0x64 || op == 0x65) segment = true;
    else if (op == 0x2e || op == 0x3e || op == 0x26 || op == 0x36 || op == 0xf0) {}
    else break;
  }
  if (op >= 0x40 && op <= 0x4f) rex = op, op = c.byte();
  const bool wide = (rex & 8) != 0;
  const int word = narrow && !wide ? 2 : 4;
  const auto bit = [](u8 r) { return u32{1} << r; };
  operands o;
  const auto full = [&] { o = decoding::modrm(c, rex); };
  // Byte registers 4 to 7 without REX are ah to bh; both readings are marked.
  const auto write_rm = [&] {
    if (o.mode != 3) i.stores = true;
    else i.writes |= bit(o.rm) | bit(o.rm & 3);
  };
  const auto write_reg = [&] { i.writes |= bit(o.reg) | ((op & 1) != 0 ? 0 : bit(o.reg & 3)); };
  const auto exact_reg = [&] { i.writes |= bit(o.reg); };
  const auto exact_rm = [&] {
    if (o.mode != 3) i.stores = true;
    else i.writes |= bit(o.rm);
  };
  const auto done = [&]() -> instruction {
    const auto length = c.at - code;
    if (c.short_of || length > 15) return {};
    i.length = static_cast<u8>(length);
    return i;
  };

  if (op == 0xc4 || op == 0xc5 || op == 0x62) {  // VEX, EVEX
    if (rex != 0) return {};
    u8 map = 1;
    const u8 first = c.byte();
    if (op == 0xc4) map = first & 0x1f, (void)c.byte();
    if (op == 0x62) map = first & 7, (void)c.byte(), (void)c.byte();
    const u8 v = c.byte();
    if (map < 1 || map > 3) return {};
    if (!(map == 1 && v == 0x77)) full();
    if (map == 3 || (map == 1 && decoding::vector_constant(v))) (void)c.byte();
    i.stores = true;
    // Rather too many than one too few: the registers of its prefix are not looked at.
    if ((map == 1 && decoding::vector_to_general(v)) || (map == 2 && v >= 0xf0) ||
        (map == 3 && (v >= 0xf0 || (v >= 0x14 && v <= 0x17))))
      i.writes = every_register;
    return done();
  }

  if (op == 0x0f) {
    op = c.byte();
    if (op == 0x05) {
      i.writes = bit(rax) | bit(rcx) | bit(r11);
      i.stores = true;
      return done();
    }
    if (op == 0x0b) {
      i.leaves = true;
      return done();
    }
    if (op == 0x31 || op == 0xa2) {
      i.writes = bit(rax) | bit(rdx) | bit(rcx) | bit(rbx);
      return done();
    }
    if (op == 0x77 || op == 0xa0 || op == 0xa1 || op == 0xa8 || op == 0xa9) {
      i.stores = op != 0x77;
      return done();
    }
    if (op >= 0x80 && op <= 0x8f) {
      i.jumps = true;
      i.value = c.number(4);
      return done();
    }
    if (op >= 0xc8 && op <= 0xcf) {
      i.writes = bit(static_cast<u8>((op & 7) | (rex & 1) << 3));
      return done();
    }
    if (op == 0x38 || op == 0x3a) {
      const bool constant = op == 0x3a;
      op = c.byte();
      full();
      if (constant) (void)c.byte();
      i.stores = true;
      if (constant ? op >= 0x14 && op <= 0x17 : op >= 0xf0) i.writes = every_register;
      return done();
    }
    const bool vector = (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f) ||
                        (op >= 0x50 && op <= 0x7f) || op == 0xc2 || (op >= 0xc4 && op <= 0xc6) ||
                        (op >= 0xd0 && op != 0xff);
    if (vector) {
      full();
      if (decoding::vector_constant(op)) (void)c.byte();
      i.stores = true;
      if (decoding::vector_to_general(op)) i.writes = every_register;
      return done();
    }
    if (op == 0x0d || (op >= 0x18 && op <= 0x1f) || op == 0xa3) {
      full();  // prefetch, nop, endbr, bt
      if (op == 0x1e && o.mode == 3 && repeat) exact_rm();  // rdssp
      return done();
    }
    full();
    if (op >= 0x40 && op <= 0x4f) exact_reg();
    else if (op >= 0x90 && op <= 0x9f) write_rm();
    else if (op == 0xa4 || op == 0xac) exact_rm(), (void)c.byte();
    else if (op == 0xa5 || op == 0xad || op == 0xab || op == 0xb3 || op == 0xbb) exact_rm();
    else if (op == 0xae) exact_rm(), i.stores = true;
    else if (op == 0xaf || op == 0xb6 || op == 0xb7 || op == 0xb8 || (op >= 0xbc && op <= 0xbf))
      exact_reg();
    else if (op == 0xb0 || op == 0xb1) write_rm(), i.writes |= bit(rax);
    else if (op == 0xba) exact_rm(), (void)c.byte();
    else if (op == 0xc0 || op == 0xc1) write_rm(), i.writes |= bit(o.reg) | bit(o.reg & 3);
    else if (op == 0xc3) i.stores = true;
    else if (op == 0x01 || op == 0xc7) i.writes = every_register, i.stores = true;
    else return {};
    return done();
  }

  if (op < 0x40) {
    const bool compares = op >= 0x38;
    switch (op & 7) {
      case 0: case 1:
        full();
        if (!compares) (op & 1) != 0 ? exact_rm() : write_rm();
        // xor of a register with itself: zero
        if (op == 0x31 && o.mode == 3 && o.reg == o.rm && !narrow)
          i.from = instruction::source::constant;
        break;
      case 2: case 3:
        full();
        if (!compares) write_reg();
        if (op == 0x33 && o.mode == 3 && o.reg == o.rm && !narrow)
          i.from = instruction::source::constant;
        break;
      case 4: (void)c.byte(); if (!compares) i.writes = bit(rax); break;
      case 5: (void)c.number(word); if (!compares) i.writes = bit(rax); break;
      default: return {};
    }
    return done();
  }
  const u8 low = static_cast<u8>((op & 7) | (rex & 1) << 3);
  switch (op) {
    case 0x50: case 0x51: case 0x52: case 0x53: case 0x54: case 0x55: case 0x56: case 0x57:
      i.writes = bit(rsp), i.stores = true;
      break;
    case 0x58: case 0x59: case 0x5a: case 0x5b: case 0x5c: case 0x5d: case 0x5e: case 0x5f:
      i.writes = bit(rsp) | bit(low);
      break;
    case 0x63: full(); exact_reg(); break;
    case 0x68: (void)c.number(word); i.writes = bit(rsp), i.stores = true; break;
    case 0x6a: (void)c.byte(); i.writes = bit(rsp), i.stores = true; break;
    case 0x69: full(); (void)c.number(word); exact_reg(); break;
    case 0x6b: full(); (void)c.byte(); exact_reg(); break;
    case 0x70: case 0x71: case 0x72: case 0x73: case 0x74: case 0x75: case 0x76: case 0x77:
    case 0x78: case 0x79: case 0x7a: case 0x7b: case 0x7c: case 0x7d: case 0x7e: case 0x7f:
    case 0xe3:
      i.jumps = true;
      i.value = c.number(1);
      break;
    case 0x80: case 0x83: full(); (void)c.byte(); if (o.digit != 7) write_rm(); break;
    case 0x81: full(); (void)c.number(word); if (o.digit != 7) exact_rm(); break;
    case 0x84: case 0x85: full(); break;
    case 0x86: case 0x87: full(); write_rm(); i.writes |= bit(o.reg) | bit(o.reg & 3); break;
    case 0x88: full(); write_rm(); break;
    case 0x89: case 0x8b:
      full();
      op == 0x89 ? exact_rm() : exact_reg();
      if (narrow) break;
      if (o.mode == 3) {
        i.from = instruction::source::copy;
        i.other = op == 0x89 ? o.reg : o.rm;
      } else if (op == 0x8b && o.plain && !segment) {
        i.from = instruction::source::load;
        i.other = o.rm, i.value = o.displacement, i.wide = wide;
      }
      break;
    case 0x8a: full(); write_reg(); break;
    case 0x8d:
      full();
      if (o.mode == 3) return {};
      exact_reg();
      break;
    case 0x8f: full(); exact_rm(); i.writes |= bit(rsp); break;
    case 0x90: if ((rex & 1) != 0) i.writes = bit(rax) | bit(r8); break;
    case 0x91: case 0x92: case 0x93: case 0x94: case 0x95: case 0x96: case 0x97:
      i.writes = bit(rax) | bit(low);
      break;
    case 0x98: i.writes = bit(rax); break;
    case 0x99: i.writes = bit(rdx); break;
    case 0x9b: break;
    case 0xa4: case 0xa5: case 0xaa: case 0xab:
      i.writes = bit(rcx) | bit(rsi) | bit(rdi), i.stores = true;
      break;
    case 0xa8: (void)c.byte(); break;
    case 0xa9: (void)c.number(word); break;
    case 0xb0: case 0xb1: case 0xb2: case 0xb3: case 0xb4: case 0xb5: case 0xb6: case 0xb7:
      (void)c.byte();
      i.writes = bit(low) | bit(low & 3);
      break;
    case 0xb8: case 0xb9: case 0xba: case 0xbb: case 0xbc: case 0xbd: case 0xbe: case 0xbf:
      i.value = c.number(wide ? 8 : word);
      i.writes = bit(low);
      if (!narrow) i.from = instruction::source::constant;
      break;
    case 0xc0: case 0xc1: full(); (void)c.byte(); write_rm(); break;
    case 0xc2: (void)c.number(2); i.leaves = true; break;
    case 0xc3: case 0xcc: case 0xf4: i.leaves = true; break;
    case 0xc6: full(); (void)c.byte(); if (o.digit != 0) return {}; write_rm(); break;
    case 0xc7:
      full();
      i.value = c.number(word);
      if (o.digit != 0) return {};
      exact_rm();
      if (o.mode == 3 && !narrow) i.from = instruction::source::constant;
      break;
    case 0xc9: i.writes = bit(rsp) | bit(rbp); break;
    case 0xd0: case 0xd1: case 0xd2: case 0xd3: full(); write_rm(); break;
    case 0xd8: case 0xd9: case 0xda: case 0xdb: case 0xdc: case 0xdd: case 0xde: case 0xdf:
      full();
      i.stores = true;
      if (op == 0xdf && o.mode == 3) i.writes = bit(rax);
      break;
    case 0xe8:
      i.value = c.number(4);
      i.jumps = i.stores = true;
      i.writes = every_register;
      break;
    case 0xe9: case 0xeb:
      i.value = c.number(op == 0xeb ? 1 : 4);
      i.jumps = i.leaves = true;
      break;
    case 0xf6: case 0xf7:
      full();
      if (o.digit <= 1) (void)c.number(op == 0xf6 ? 1 : word);
      else if (o.digit <= 3) write_rm();
      else i.writes = bit(rax) | bit(rdx);
      break;
    case 0xfe: full(); if (o.digit > 1) return {}; write_rm(); break;
    case 0xff:
      full();
      if (o.digit <= 1) exact_rm();
      else if (o.digit == 2) i.writes = every_register, i.stores = true;
      else if (o.digit == 4) i.leaves = true;
      else if (o.digit == 6) i.writes = bit(rsp), i.stores = true;
      else return {};
      break;
    default: return {};
  }
  return done();
}

/// Code is read from each of its first bytes on: one of them begins an instruction, so one of the
/// readings is the true one, and readings soon fall into step.
inline constexpr int longest_instruction = 15;

/// Who has set `reg` last before the end of `code`: where all readings that reach the end agree, it
/// is the truth. Null when they do not, or when none of them sees it set.
// Context: any, no libc
constexpr const u8* setter_of(gpr reg, const u8* code, const u8* end) {
  const u8* found = nullptr;
  bool any = false;
  for (int start = 0; start < longest_instruction; ++start) {
    const u8* setter = nullptr;
    const u8* at = code + start;
    while (at < end) {
      const auto i = decode(at, end);
      if (i.length == 0) break;
      if (i.leaves) setter = nullptr;
      else if ((i.writes >> reg & 1) != 0) setter = at;
      at += i.length;
    }
    if (at != end) continue;
    if (any && setter != found) return nullptr;
    found = setter;
    any = true;
  }
  return found;
}

/// Whether an instruction may begin at `place`: one of the readings has it so, or none gets there.
// Context: any, no libc
constexpr bool may_begin(const u8* code, const u8* code_end, const u8* place) {
  constexpr int before = 64;
  if (place - code < before) return true;
  bool passed = false;
  for (int start = 0; start < longest_instruction; ++start) {
    const u8* at = place - before + start;
    while (at < place) {
      const auto i = decode(at, code_end);
      if (i.length == 0) break;
      at += i.length;
    }
    if (at == place) return true;
    passed = passed || at > place;
  }
  return !passed;
}

/// Whether a jump or call somewhere in [code, code_end) may lead into (from, to]: then what stands
/// before is not all that can have happened.
// Context: any, no libc
constexpr bool jumped_into(const u8* code, const u8* code_end, const u8* from, const u8* to) {
  for (const u8* at = code; at + 2 <= code_end; ++at) {
    const bool near = *at == 0xe8 || *at == 0xe9 ||
                      (*at == 0x0f && at[1] >= 0x80 && at[1] <= 0x8f);
    const bool close = *at == 0xeb || (*at >= 0x70 && *at <= 0x7f) || *at == 0xe3;
    if (!near && !close) continue;
    const auto i = decode(at, code_end);
    if (!i.jumps) continue;
    const i64 target = (at - code) + i.length + i.value;
    if (target > from - code && target <= to - code && may_begin(code, code_end, at)) return true;
  }
  return false;
}

}  // namespace ckpt::agent
