// SPDX-License-Identifier: MIT
//
// The rules of an image once more, written down apart from the validator and in another way: every record in
// a list, every rule by itself, sums in 128 bits. Slow, and so plain that it can be read beside
// docs/FORMAT.md. The fuzzer holds the validator to it in both directions: an image that is let in and must
// not be is a hole, one that is refused and need not be is a program that cannot come back.
//
// It is compiled by itself, once, whatever bug is planted in what it is held against.
#pragma once

#include <string_view>
#include <vector>

#include "ckpt/format/header.hpp"

namespace ckpt::fuzz {

/// Empty: nothing is wrong. Otherwise the first rule that is broken.
using fault = std::string_view;

struct plain_record {
  u16 type;
  bool critical;
  bytes fixed, tail;
};

struct metadata_opinion {
  std::vector<plain_record> records;
  fault metadata;
  fault agent;  // of metadata without a fault
};

[[nodiscard]] fault header_fault(const format::file_header& h, u64 file_size);
[[nodiscard]] fault trailer_fault(const format::file_header& h, const format::trailer& t, bytes table);
[[nodiscard]] metadata_opinion opinion_on(const format::file_header& h, bytes metadata);

}  // namespace ckpt::fuzz
