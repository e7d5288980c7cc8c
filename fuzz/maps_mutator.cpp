// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change a text; the first four bytes choose the pieces.
#include "text_mutator.hpp"

namespace {

using namespace std::string_view_literals;

constexpr std::string_view whole[] = {
    "\0\1\2\3" "7f0eef0dd000-7f0eef0df000 rw-p 00033000 fe:00 332383                     /usr/a\\012b (deleted)\n"
    "7f0eef0e0000-7f0eef0e1000 --xs 00000000 00:01 0 \n"sv,
    "\3\2\1\0" "7f0eef0db000-7f0eef0dd000 r-xp 00000000 00:00 0                          [vdso]\n"
    "Size:                  8 kB\nTHPeligible:           0\nVmFlags: rd wr mr sd ?? \n"sv,
};

}  // namespace

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  return ckpt::fuzz::text_mutator(seed, 4, whole).mutate(data, size, max);
}
