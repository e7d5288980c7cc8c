// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change an image, and to make one of two. A file of its own, because it is what
// takes long to compile, and planted.py needs it once.
#include "image_mutator.hpp"

using ckpt::fuzz::image_mutator;

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  return image_mutator(seed).mutate({reinterpret_cast<std::byte*>(data), max}, size);
}

extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* first, std::size_t first_size,
                                                 const std::uint8_t* second, std::size_t second_size,
                                                 std::uint8_t* out, std::size_t max, unsigned seed) {
  return image_mutator(seed).cross({reinterpret_cast<const std::byte*>(first), first_size},
                                   {reinterpret_cast<const std::byte*>(second), second_size},
                                   {reinterpret_cast<std::byte*>(out), max});
}
