// SPDX-License-Identifier: MIT
//
// A program of a given size: fills memory with random bytes, says `ready`, and turns around until
// it finds another standard output, that of whoever has restarted it. Then it says when that was
// (CLOCK_MONOTONIC, nanoseconds), and whether every byte has come along.
//
//   resident BYTES
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>

namespace {

std::uint64_t sum(const std::uint64_t* words, std::size_t count) {
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < count; ++i) total = total * 31 + words[i];
  return total;
}

ino_t standard_output() {
  struct stat found {};
  fstat(1, &found);
  return found.st_ino;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const std::size_t size = std::strtoull(argv[1], nullptr, 10);
  const std::size_t count = size / sizeof(std::uint64_t);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return 1;
  auto* words = static_cast<std::uint64_t*>(memory);
  std::uint64_t x = 88172645463325252;
  for (std::size_t i = 0; i < count; ++i) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    words[i] = x;
  }
  const std::uint64_t before = sum(words, count);
  const ino_t first = standard_output();
  std::puts("ready");
  std::fflush(stdout);
  while (standard_output() == first) {
  }
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  std::printf("%lld\n", static_cast<long long>(t.tv_sec * 1'000'000'000 + t.tv_nsec));
  std::fflush(stdout);
  if (sum(words, count) != before) {
    std::puts("wrong");
    return 1;
  }
  std::puts("right");
  return 0;
}
