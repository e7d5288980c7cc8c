// SPDX-License-Identifier: MIT
//
// The few things about showing a field that its type does not say: which integers are addresses,
// registers, masks or checksums (shown in hexadecimal), and which u64 has a vocabulary of its own.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "ckpt/maps/vm_flags.hpp"
#include "ckpt/state/memory_layout.hpp"
#include "ckpt/state/x86_64/thread.hpp"
#include "ckpt/sys/x86_64/cpu.hpp"

namespace ckpt::tools {

/// Names of hexadecimal fields, the same in every record. In the registers of a thread and in
/// memory_layout every u64 is one, but for alternate_stack_size.
inline constexpr std::string_view hexadecimal_fields[] = {
    "address",           "agent_entry",        "agent_stack",
    "components",        "coredump_filter",    "handler",
    "head_checksum",     "header_checksum",    "mask",
    "metadata_checksum", "restarter_checksum", "restorer",
    "rseq_signature",    "table_checksum",     "tail_checksum",
    "trailer_checksum",  "window_address",
};

template <class Record>
[[nodiscard]] bool in_hexadecimal(std::string_view field, std::size_t width) {
  if constexpr (std::is_same_v<Record, state::thread> ||
                std::is_same_v<Record, state::memory_layout>)
    if (width == sizeof(u64) && field != "alternate_stack_size") return true;
  return std::ranges::find(hexadecimal_fields, field) != std::end(hexadecimal_fields);
}

[[nodiscard]] inline std::vector<std::string> extension_names(u64 extensions) {
  std::vector<std::string> names;
  for (u32 i = 0; i < 64; ++i) {
    if ((extensions >> i & 1) == 0) continue;
    names.push_back(i < sys::arch::extension_count ? std::string(sys::arch::extensions[i].name)
                                                   : "bit-" + std::to_string(i));
  }
  return names;
}

[[nodiscard]] inline std::vector<std::string> vm_flag_names(u64 bits) {
  std::vector<std::string> names;
  for (u32 i = 0; i < 64; ++i)
    if ((bits >> i & 1) != 0)
      names.emplace_back(maps::mnemonic(static_cast<maps::vm_flag>(u64{1} << i)));
  return names;
}

}  // namespace ckpt::tools
