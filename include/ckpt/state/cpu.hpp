// SPDX-License-Identifier: MIT
//
// What the processor offered. Libraries choose code for it once, at load (IFUNC), so an image runs
// only where nothing of it is missing; that is checked before any code of the image has run.
#pragma once

#include "ckpt/base/text.hpp"
#include "ckpt/format/metadata.hpp"
#include "ckpt/sys/x86_64/cpu_level.hpp"

namespace ckpt::state {

struct cpu {
  static constexpr auto record = format::record_type::cpu;
  wire::le<u64> extensions;
  wire::le<u64> components;
  wire::text<16> vendor;
};

}  // namespace ckpt::state

BOOST_HANA_ADAPT_STRUCT(ckpt::state::cpu, extensions, components, vendor);

namespace ckpt::wire {
template <>
inline constexpr auto describe<state::cpu> = description<3>{
    "cpu",
    "The processor, or as much of it as the program was let use. A restart needs every extension and "
    "every component that is set here.",
    {"instruction-set extensions, bits as listed in include/ckpt/sys/x86_64/cpu.hpp",
     "state components the kernel had enabled, as XCR0 has them", "vendor, as CPUID leaf 0 spells it"}};
}  // namespace ckpt::wire

namespace ckpt::state {

static_assert(wire::laid_out_in<cpu, 32>());

// Context: any, no libc
inline cpu this_cpu() {
  cpu c{};
  c.extensions = sys::arch::available_extensions();
  c.components = sys::arch::enabled_components();
  const auto leaf = sys::arch::cpuid(0);
  char name[12];
  std::memcpy(name, &leaf.ebx, 4);
  std::memcpy(name + 4, &leaf.edx, 4);
  std::memcpy(name + 8, &leaf.ecx, 4);
  c.vendor = wire::text<16>(std::string_view(name, sizeof name));
  return c;
}

/// Refuses with the names of what `here` lacks.
// Context: restarter, no libc
inline result<void> check_cpu(const cpu& saved, const cpu& here, report& why) {
  const u64 missing = saved.extensions & ~here.extensions;
  const u64 components = saved.components & ~here.components;
  if (missing == 0 && components == 0) return {};
  fixed_text<700> names;
  for (u32 i = 0; i < 64; ++i) {
    if ((missing >> i & 1) == 0) continue;
    if (!names.empty()) names.append(' ');
    if (i < sys::arch::extension_count)
      names.append(sys::arch::extensions[i].name);
    else
      names.append("bit-").append(i);
  }
  if (missing == 0) names.append("state components ").append(hex{components});
  return why.refuse("this processor lacks ", names.view(),
                    ", which the program may be using (restart it on a machine that has them)");
}

}  // namespace ckpt::state
