// SPDX-License-Identifier: MIT
//
// The restarter's way through the dynamic symbols of a saved vDSO, which comes from a file, and what it
// writes over their functions. The input is that vDSO, and the present one as well: a function of the same name is found in it, or none.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>

#include "../restart/vdso.hpp"

namespace {

using namespace ckpt;

void require(bool so) {
  if (!so) __builtin_trap();
}

void check_symbols(bytes image) {
  const restart::elf_symbols symbols(image);
  u64 calls = 0;
  symbols.for_each([&](const restart::elf_symbols::function& f) {
    ++calls;
    const auto* begin = reinterpret_cast<const std::byte*>(f.name.data());
    require(!f.name.empty() && image.data() <= begin &&
            begin + f.name.size() < image.data() + image.size());
    require(f.name.find('\0') == std::string_view::npos);
  });
  require(calls <= image.size() / 24);
  (void)symbols.find("clock_gettime");
}

/// `saved` is changed; every byte of it may be, none beside it.
void relink(std::span<std::byte> saved, bytes current) {
  restart::relink_vdso(saved, current);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // A copy of its own size: reading or writing past the end is an error that ASan sees.
  const std::unique_ptr<std::byte[]> exact(new std::byte[size]);
  if (size > 0) std::memcpy(exact.get(), data, size);
  const std::span saved(exact.get(), size);
  check_symbols(saved);
  // As the present one, its own functions are found again; without one, none.
  const std::unique_ptr<std::byte[]> copy(new std::byte[size]);
  if (size > 0) std::memcpy(copy.get(), data, size);
  relink(saved, bytes(copy.get(), size));
  if (size > 0) std::memcpy(exact.get(), data, size);
  relink(saved, {});
  return 0;
}
