// SPDX-License-Identifier: MIT
//
// What libFuzzer calls to change an ELF file: a field becomes a number at an edge of the file, or what another
// field is.
#include <cstdint>
#include <cstring>
#include <iterator>
#include <random>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max,
                                               unsigned seed) {
  std::minstd_rand random(seed);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random() % n); };
  if (size < 64 || below(4) == 0) return LLVMFuzzerMutate(data, size, max);
  for (std::size_t changes = 1 + below(3); changes > 0; --changes) {
    // Symbols have fields of one, two, four and eight bytes, all of them aligned.
    const std::size_t width = std::size_t{1} << (below(2) == 0 ? 3 : below(4));
    const auto field = [&] { return data + below(size / width) * width; };
    std::uint8_t* const chosen = field();
    std::uint64_t value = 0;
    std::memcpy(&value, chosen, width);
    const std::uint64_t edges[] = {0, 1, 2, 5, 6, 10, 24, size, size - 24, size / 2, 1u << 31, ~std::uint64_t{0}};
    switch (below(6)) {
      case 0: value += 1; break;
      case 1: value -= 1; break;
      case 2: value ^= std::uint64_t{1} << below(8 * width); break;
      case 3: std::memcpy(&value, field(), width); break;
      case 4: value = edges[below(std::size(edges))] + (below(2) == 0 ? 0 : below(17)); break;
      default: value = edges[below(std::size(edges))] - (below(2) == 0 ? 0 : below(33)); break;
    }
    std::memcpy(chosen, &value, width);
  }
  return size;
}
