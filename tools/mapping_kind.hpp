// SPDX-License-Identifier: MIT
//
// What a mapping was to the program, as people think of it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "program_memory.hpp"

namespace ckpt::tools {

enum class mapping_kind { program, file, heap, stack, anonymous, shared, kernel };
inline constexpr std::size_t mapping_kinds = 7;

[[nodiscard]] std::string_view word_of(mapping_kind kind);
/// As CSS has it.
[[nodiscard]] std::string_view colour_of(mapping_kind kind);

/// Knows the threads' stacks from their stack pointers.
class mapping_classes {
 public:
  explicit mapping_classes(const image_file& image);
  [[nodiscard]] mapping_kind of(const program_memory::mapping& m) const;

 private:
  std::string program_;
  range heap_;
  std::vector<u64> stack_pointers_;  // ascending
};

/// How much of each of `cells` equal parts of the mapping is in the image, 0 to 1.
[[nodiscard]] std::vector<double> density(const program_memory& memory,
                                          const program_memory::mapping& m, std::size_t cells);

/// Adds what of a run lies in each of the equal parts of a range, as a share of the part.
void add_to_cells(std::vector<double>& cells, range whole, range run);

/// r-x, as in /proc/PID/maps.
[[nodiscard]] std::string protection_text(const state::segment& s);

}  // namespace ckpt::tools
