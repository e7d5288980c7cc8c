// SPDX-License-Identifier: MIT
// Reads places of `syscall` instructions in a file, as offsets, and says for each what number the
// agent would find before it: call_numbers.py compares that with what a disassembler shows.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "interrupted_call.hpp"

int main(int count, char** values) {
  if (count != 2) return 2;
  std::ifstream file(values[1], std::ios::binary);
  const std::string contents{std::istreambuf_iterator<char>(file), {}};
  const auto read = [&](ckpt::u64 address, void* buffer, ckpt::u64 size) {
    if (address > contents.size() || size > contents.size() - address) return false;
    std::memcpy(buffer, contents.data() + address, size);
    return true;
  };
  unsigned long offset = 0;
  while (std::scanf("%lx", &offset) == 1) {
    ckpt::agent::code_around code;
    ckpt::u64 number = ckpt::agent::not_found;
    // No register is known here, so only numbers in the code are found.
    if (code.load(read, offset))
      number = ckpt::agent::value_before(read, code, offset, ckpt::agent::rax, {});
    std::printf("%lx %lld\n", offset, static_cast<long long>(number));
  }
  return 0;
}
