// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change a text; the first byte chooses a parser.
#include "text_mutator.hpp"

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  return ckpt::fuzz::text_mutator(seed, 1).mutate(data, size, max);
}
