// SPDX-License-Identifier: MIT
//
// Random tests print the seed they ran with when they fail; CKPT_SEED=N in the environment runs
// them with it again.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <random>

namespace ckpt::test {

inline std::uint64_t seed() {
  static const std::uint64_t value = [] {
    if (const char* text = std::getenv("CKPT_SEED")) return std::strtoull(text, nullptr, 0);
    std::random_device device;
    return static_cast<unsigned long long>(device()) << 32 | device();
  }();
  return value;
}

/// Uniform in [low, high]. Not std::uniform_int_distribution, whose numbers differ between
/// libraries: a seed has to mean the same everywhere.
class random_source {
 public:
  explicit random_source(std::uint64_t start) : engine_(start) {}

  std::uint64_t operator()(std::uint64_t low, std::uint64_t high) {
    const std::uint64_t span = high - low + 1;
    return span == 0 ? engine_() : low + engine_() % span;
  }
  bool one_in(std::uint64_t n) { return (*this)(1, n) == 1; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace ckpt::test
