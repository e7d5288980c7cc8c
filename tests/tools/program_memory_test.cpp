// SPDX-License-Identifier: MIT
//
// Memory by address: what the image holds, zeros where it holds nothing, nothing where nothing was.
#include "program_memory.hpp"

#include <string>

#include "support/catch.hpp"
#include "support/memory_image.hpp"

namespace ckpt::tools {
namespace {

using test::image_builder;

std::string read(program_memory& memory, u64 address, u64 n) {
  std::string text(n, '?');
  memory.read(address, std::as_writable_bytes(std::span(text)));
  return text;
}

TEST_CASE("bytes are found by address, across extents and holes") {
  auto image = test::opened(image_builder::typical().build());
  program_memory memory(image);
  const std::string zeros(page_size, '\0');
  CHECK(read(memory, image_builder::code + page_size - 2, 4) == "ccdd");
  CHECK(read(memory, 0x600000, page_size) == std::string(page_size, 'h'));
  CHECK(read(memory, 0x600fff, 2) == std::string("h\0", 2));
  CHECK(read(memory, 0x601000, page_size) == zeros);
  CHECK(read(memory, 0x602ffe, 4) == std::string("\0\0ii", 4));
  CHECK(read(memory, 0x604fff, 3) == std::string("j\0\0", 3));
  CHECK(read(memory, 0x63f000, page_size) == zeros);
  CHECK(read(memory, image_builder::stack + 0x11000, 3) == "vvv");
}

TEST_CASE("addresses belong to the mapping that holds them") {
  auto image = test::opened(image_builder::typical().build());
  const program_memory memory(image);
  CHECK(memory.find(image_builder::code - 1) == nullptr);
  CHECK(memory.find(image_builder::code)->name == "/usr/bin/victim");
  CHECK(memory.find(image_builder::code + 4 * page_size - 1)->name == "/usr/bin/victim");
  CHECK(memory.find(image_builder::code + 4 * page_size) == nullptr);
  CHECK(memory.find(~u64{0}) == nullptr);
  CHECK(memory.find(0) == nullptr);
  CHECK(memory.find(0x600000)->bytes_in_image == 3 * page_size);
}

TEST_CASE("a run goes on over neighbours and ends at gaps and at the kernel's pages") {
  auto b = image_builder();
  b.segment(0x400000, 1).segment(0x401000, 2).segment(0x500000, 1);
  b.segment(0x501000, 1, state::segment_kind::vvar, 1, "[vvar]");
  auto image = test::opened(b.build());
  const program_memory memory(image);
  CHECK(memory.run_from(0x400010) == range{0x400010, 0x403000});
  CHECK(memory.run_from(0x500000) == range{0x500000, 0x501000});
  CHECK(memory.run_from(0x501000).empty());
  CHECK(memory.run_from(0x403000).empty());
}

TEST_CASE("an offset of the data is traced back to its address") {
  auto image = test::opened(image_builder::typical().build());
  const program_memory memory(image);
  CHECK(memory.address_of_data(0) == image_builder::code);
  CHECK(memory.address_of_data(page_size + 5) == image_builder::code + page_size + 5);
  CHECK(memory.address_of_data(3 * page_size) == 0x603000);
  // The last two pages are the contents of a deleted file.
  CHECK_FALSE(memory.address_of_data(7 * page_size).has_value());
}

}  // namespace
}  // namespace ckpt::tools
