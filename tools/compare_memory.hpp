// SPDX-License-Identifier: MIT
//
// The memory of two images side by side, in ascending order and a piece at a time, so that size
// costs time only.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "difference.hpp"
#include "program_memory.hpp"
#include "terminal.hpp"

namespace ckpt::tools {

/// Pages of a range that both have.
struct page_count {
  u64 compared = 0;  // those that either image has bytes of
  u64 changed = 0;
  u64 appeared = 0;  // zero in the first
  u64 vanished = 0;  // zero in the second

  [[nodiscard]] u64 different() const { return changed + appeared + vanished; }
  void operator+=(const page_count& o) {
    compared += o.compared;
    changed += o.changed;
    appeared += o.appeared;
    vanished += o.vanished;
  }
};

/// A range of addresses with the one mapping that each has there, if any.
struct piece {
  range where;
  const program_memory::mapping* a = nullptr;
  const program_memory::mapping* b = nullptr;

  [[nodiscard]] change how() const {
    return a == nullptr ? change::added : b == nullptr ? change::removed : change::same;
  }
  [[nodiscard]] const program_memory::mapping& one() const { return b != nullptr ? *b : *a; }
};

struct compared_piece {
  piece what;
  std::vector<difference> attributes;
  page_count pages;
  std::vector<double> cells;  // of the piece, up to 32 of the same length: shares that differ
};

struct compared_object {
  std::string name;
  u64 size_a, size_b;
  page_count pages;
};

/// Shows how far it is, while it is asked.
class memory_comparison {
 public:
  /// Damage is told with the name of the image that has it.
  memory_comparison(image_file& a, std::string name_a, image_file& b, std::string name_b);

  struct visitor {
    std::function<void(const compared_piece&)> begin;  // what is known without its pages
    std::function<void(range)> differs;                // for each run of pages
    std::function<void(const compared_piece&)> end;
  };
  page_count pieces(const visitor& visit);

  /// What is not mapped anywhere: deleted and memory files that are only open.
  [[nodiscard]] std::vector<compared_object> objects();

  /// Nothing more is compared: the bar goes before the text comes.
  void finish() { bar_.reset(); }

 private:
  using reader = std::function<void(u64, mutable_bytes)>;
  using on_range = std::function<void(range)>;

  page_count compare(const piece& p, const on_range& differs);
  page_count compare_objects(u64 number_a, u64 number_b);
  page_count compare_runs(const std::vector<range>& a, const reader& read_a,
                          const std::vector<range>& b, const reader& read_b,
                          const on_range& differs);

  image_file& a_;
  image_file& b_;
  std::string name_a_, name_b_;
  program_memory memory_a_, memory_b_;
  std::optional<progress> bar_;
  std::vector<std::byte> room_a_, room_b_;
};

}  // namespace ckpt::tools
