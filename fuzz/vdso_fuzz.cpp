// SPDX-License-Identifier: MIT
//
// The restarter's way through the dynamic symbols of a saved vDSO, which comes from a file, and what it writes
// over their functions, held against both once more in plain words. The input is that vDSO, and the present one
// as well: a function of the same name is found in it, or none.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../restart/vdso.hpp"

namespace {

using namespace ckpt;

void require(bool so) {
  if (!so) __builtin_trap();
}

struct plain_function {
  std::string name;
  u64 offset, size;
  bool operator==(const plain_function&) const = default;
};

__extension__ typedef __int128 wide;

/// Little endian; nothing where it does not lie in the image.
std::optional<u64> number(bytes image, wide at, unsigned width) {
  if (at < 0 || at + width > static_cast<wide>(image.size())) return std::nullopt;
  u64 value = 0;
  for (unsigned i = width; i-- > 0;) value = value << 8 | std::to_integer<u64>(image[static_cast<u64>(at) + i]);
  return value;
}

/// The defined functions of an ELF file; nothing when its addresses are such that no two readers need agree: sums
/// beyond 64 bits, or less than the address it is loaded to.
std::optional<std::vector<plain_function>> plain_functions(bytes image) {
  const auto headers = number(image, 32, 8), count = number(image, 56, 2);
  std::vector<plain_function> functions;
  if (!headers || !count) return functions;
  std::optional<wide> base;
  wide dynamic = 0, dynamic_end = 0;
  for (wide i = 0; i < *count; ++i) {
    const wide at = wide{*headers} + i * 56;
    const auto type = number(image, at, 4), offset = number(image, at + 8, 8), address = number(image, at + 16, 8),
               size = number(image, at + 32, 8);
    if (at + 40 > static_cast<wide>(~u64{0})) return std::nullopt;
    if (!type || !offset || !address || !size) return functions;
    if (*type == 1 && !base) base = wide{*address} - *offset;
    if (*type == 2) dynamic = *offset, dynamic_end = wide{*offset} + *size;
  }
  if (!base || *base < 0 || dynamic_end > static_cast<wide>(~u64{0})) return std::nullopt;
  wide strings = 0, symbols = 0, strings_size = 0;
  for (wide at = dynamic; at + 16 <= dynamic_end; at += 16) {
    const auto tag = number(image, at, 8), value = number(image, at + 8, 8);
    if (!tag || !value || *tag == 0) break;
    if (*tag == 5) strings = *value - *base;
    if (*tag == 6) symbols = *value - *base;
    if (*tag == 10) strings_size = *value;
  }
  if (strings < 0 || symbols < 0) return std::nullopt;
  for (wide at = symbols + 24; symbols != 0 && at + 24 <= strings; at += 24) {
    const auto name = number(image, at, 4), info = number(image, at + 4, 1), section = number(image, at + 6, 2),
               value = number(image, at + 8, 8), size = number(image, at + 16, 8);
    if (!name || !info || !section || !value || !size) break;
    if (*info % 16 != 2 || *section == 0 || *name >= strings_size) continue;
    std::string text;
    wide c = strings + *name;
    while (number(image, c, 1).value_or(0) != 0) text += static_cast<char>(*number(image, c++, 1));
    if (!text.empty() && number(image, c, 1))
      functions.push_back({text, *value - static_cast<u64>(*base), *size});
  }
  return functions;
}

void check_symbols(bytes image) {
  const restart::elf_symbols symbols(image);
  std::vector<plain_function> found;
  symbols.for_each([&](const restart::elf_symbols::function& f) {
    const auto* begin = reinterpret_cast<const std::byte*>(f.name.data());
    require(image.data() <= begin && begin + f.name.size() < image.data() + image.size());
    found.push_back({std::string(f.name), f.offset, f.size});
  });
  require(found.size() <= image.size() / 24);
  if (const auto plain = plain_functions(image)) require(found == *plain);
  for (const auto& f : found) {
    u64 last = 0;
    for (const auto& other : found)
      if (other.name == f.name) last = other.offset;
    require(symbols.find(f.name) == last);
  }
}

std::string number_as_bytes(u64 value, unsigned width) {
  std::string out;
  for (; width > 0; --width, value >>= 8) out += static_cast<char>(value);
  return out;
}

/// What stands in the place of a function: a jump to `target`, when there is one, or what does the same without
/// the kernel's pages.
std::string plain_code(const std::string& function, u64 size, u64 target) {
  using namespace std::string_literals;
  if (target != 0) return "\xff\x25\0\0\0\0"s + number_as_bytes(target, 8);
  const std::string name = function.starts_with("__vdso_") ? function.substr(7) : function;
  const auto call = [](u64 number) { return "\xb8"s + number_as_bytes(number, 4) + "\x0f\x05\xc3"s; };
  const std::string missing = "\x48\xc7\xc0\xda\xff\xff\xff\xc3"s;
  if (name == "clock_gettime") return call(228);
  if (name == "gettimeofday") return call(96);
  if (name == "time") return call(201);
  if (name == "clock_getres") return call(229);
  if (name == "getcpu") return call(309);
  if (name == "getrandom" && size >= 22) return "\x49\x83\xf8\xff\x74\x08"s + call(318) + missing;
  return missing;
}

/// relink_vdso() writes that, and nothing beside it. The table of symbols may lie under a function: both follow
/// it as it is then.
void check_relink(std::span<std::byte> saved, bytes current) {
  const std::unique_ptr<std::byte[]> copy(new std::byte[saved.size()]);
  const std::span expected(copy.get(), saved.size());
  if (!saved.empty()) std::memcpy(expected.data(), saved.data(), saved.size());
  const restart::elf_symbols present(current);
  const restart::elf_symbols functions{bytes(expected)};
  functions.for_each([&](const restart::elf_symbols::function& f) {
    const u64 offset = present.find(f.name);
    const bool there = offset != 0 && offset < current.size();
    const std::string code =
        plain_code(std::string(f.name), f.size, there ? reinterpret_cast<u64>(current.data()) + offset : 0);
    if (wide{f.offset} + static_cast<wide>(code.size()) > static_cast<wide>(expected.size())) return;
    for (std::size_t i = 0; i < code.size(); ++i) expected[f.offset + i] = static_cast<std::byte>(code[i]);
  });
  restart::relink_vdso(saved, current);
  require(saved.empty() || std::memcmp(saved.data(), expected.data(), saved.size()) == 0);
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
  check_relink(saved, bytes(copy.get(), size));
  if (size > 0) std::memcpy(exact.get(), data, size);
  check_relink(saved, {});
  return 0;
}
