// SPDX-License-Identifier: MIT
//
// CPUID and XGETBV, and the instruction-set extensions a program may have chosen code for.
// Source: Intel SDM vol. 2A (CPUID), vol. 1 chapter 13 (XSAVE).
#pragma once

#include "ckpt/base/types.hpp"

namespace ckpt::sys::arch {

struct cpuid_registers {
  u32 eax, ebx, ecx, edx;
};

inline cpuid_registers cpuid(u32 leaf, u32 subleaf = 0) {
  cpuid_registers r{};
  __asm__ volatile("cpuid"
                   : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
                   : "a"(leaf), "c"(subleaf));
  return r;
}

[[nodiscard]] inline bool has_xsave() { return (cpuid(1).ecx & (u32{1} << 27)) != 0; }

/// XCR0, the state components the kernel has enabled; 3 (x87 and SSE) without XSAVE.
inline u64 enabled_components() {
  if (!has_xsave()) return 3;
  u32 low = 0;
  u32 high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return u64{high} << 32 | low;
}

/// Where a component lies in the standard format of the XSAVE area on this machine.
struct component_place {
  u32 offset;
  u32 size;
};
inline component_place place_of_component(u32 component) {
  const auto r = cpuid(0xd, component);
  return {r.ebx, r.eax};
}

/// One extension: its name as /proc/cpuinfo writes it and where CPUID reports it.
struct extension {
  std::string_view name;
  u32 leaf;
  u32 subleaf;
  u8 reg;  // 0 eax, 1 ebx, 2 ecx, 3 edx
  u8 bit;
  u8 component;  // XCR0 bit that must be enabled as well, 0 for none
};

/// Position in this table is the bit in the image: append only, never reorder. Only extensions
/// that user code can depend on; hints and kernel features are left out so that a harmless
/// difference between two machines does not stop a restart.
inline constexpr extension extensions[] = {
    {"sse3", 1, 0, 2, 0, 0},          {"pclmulqdq", 1, 0, 2, 1, 0},
    {"ssse3", 1, 0, 2, 9, 0},         {"fma", 1, 0, 2, 12, 2},
    {"cx16", 1, 0, 2, 13, 0},         {"sse4_1", 1, 0, 2, 19, 0},
    {"sse4_2", 1, 0, 2, 20, 0},       {"movbe", 1, 0, 2, 22, 0},
    {"popcnt", 1, 0, 2, 23, 0},       {"aes", 1, 0, 2, 25, 0},
    {"xsave", 1, 0, 2, 27, 0},        {"avx", 1, 0, 2, 28, 2},
    {"f16c", 1, 0, 2, 29, 2},         {"rdrand", 1, 0, 2, 30, 0},
    {"fsgsbase", 7, 0, 1, 0, 0},      {"bmi1", 7, 0, 1, 3, 0},
    {"avx2", 7, 0, 1, 5, 2},          {"bmi2", 7, 0, 1, 8, 0},
    {"avx512f", 7, 0, 1, 16, 5},      {"avx512dq", 7, 0, 1, 17, 5},
    {"rdseed", 7, 0, 1, 18, 0},       {"adx", 7, 0, 1, 19, 0},
    {"avx512ifma", 7, 0, 1, 21, 5},   {"clflushopt", 7, 0, 1, 23, 0},
    {"clwb", 7, 0, 1, 24, 0},         {"avx512cd", 7, 0, 1, 28, 5},
    {"sha_ni", 7, 0, 1, 29, 0},       {"avx512bw", 7, 0, 1, 30, 5},
    {"avx512vl", 7, 0, 1, 31, 5},     {"avx512vbmi", 7, 0, 2, 1, 5},
    {"pku", 7, 0, 2, 4, 0},           {"avx512_vbmi2", 7, 0, 2, 6, 5},
    {"gfni", 7, 0, 2, 8, 0},          {"vaes", 7, 0, 2, 9, 2},
    {"vpclmulqdq", 7, 0, 2, 10, 2},   {"avx512_vnni", 7, 0, 2, 11, 5},
    {"avx512_bitalg", 7, 0, 2, 12, 5}, {"avx512_vpopcntdq", 7, 0, 2, 14, 5},
    {"rdpid", 7, 0, 2, 22, 0},        {"movdiri", 7, 0, 2, 27, 0},
    {"movdir64b", 7, 0, 2, 28, 0},    {"avx512_fp16", 7, 0, 3, 23, 5},
    {"amx_bf16", 7, 0, 3, 22, 18},    {"amx_tile", 7, 0, 3, 24, 18},
    {"amx_int8", 7, 0, 3, 25, 18},    {"avx_vnni", 7, 1, 0, 4, 2},
    {"avx512_bf16", 7, 1, 0, 5, 5},   {"lahf_lm", 0x80000001, 0, 2, 0, 0},
    {"lzcnt", 0x80000001, 0, 2, 5, 0}, {"sse4a", 0x80000001, 0, 2, 6, 0},
    {"xop", 0x80000001, 0, 2, 11, 2}, {"fma4", 0x80000001, 0, 2, 16, 2},
    {"tbm", 0x80000001, 0, 2, 21, 0}, {"rdtscp", 0x80000001, 0, 3, 27, 0},
    // How glibc keeps registers while it looks a function up, and what its string functions end with
    // where there is transactional memory.
    {"xsavec", 0xd, 1, 0, 1, 0},      {"rtm", 7, 0, 1, 11, 0},
};
inline constexpr u32 extension_count = sizeof extensions / sizeof extensions[0];
static_assert(extension_count <= 64);

inline u64 available_extensions() {
  const u64 enabled = enabled_components();
  const u32 highest = cpuid(0).eax;
  const u32 highest_extended = cpuid(0x80000000).eax;
  u64 found = 0;
  for (u32 i = 0; i < extension_count; ++i) {
    const extension& e = extensions[i];
    if (e.leaf < 0x80000000 ? e.leaf > highest : e.leaf > highest_extended) continue;
    // Leaf 0xd counts components there, of which there are two at least.
    if (e.subleaf != 0 && e.subleaf > cpuid(e.leaf).eax) continue;
    const auto r = cpuid(e.leaf, e.subleaf);
    const u32 word = e.reg == 0 ? r.eax : e.reg == 1 ? r.ebx : e.reg == 2 ? r.ecx : r.edx;
    const bool usable = e.component == 0 || (enabled >> e.component & 1) != 0;
    if ((word >> e.bit & 1) != 0 && usable) found |= u64{1} << i;
  }
  return found;
}

}  // namespace ckpt::sys::arch
