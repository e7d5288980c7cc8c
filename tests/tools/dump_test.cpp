// SPDX-License-Identifier: MIT
//
// dump against hexdump -C's own layout, and every way to ask for what is not there.
#include <sstream>
#include <string>

#include "commands.hpp"
#include "support/catch.hpp"
#include "support/memory_image.hpp"

namespace ckpt::tools {
namespace {

using test::image_builder;

std::string dumped(image_file& image, const char* what) {
  std::ostringstream out;
  dump(image, parse_dump_range(what).value(), out);
  return out.str();
}
std::string refused(image_file& image, const char* what) {
  return test::refusal([&] { (void)dumped(image, what); });
}

request verify_of(const std::string& name) {
  request asked;
  asked.command = "verify";
  asked.operands = {name};
  return asked;
}

TEST_CASE("ADDR and LEN are read as documented") {
  const auto parsed = [](std::string_view text) {
    const auto what = parse_dump_range(text);
    return what.ok() ? std::to_string(what->address) + "+" + std::to_string(what->length) +
                           (what->length_given ? "" : "?")
                     : "";
  };
  CHECK(parsed("400000") == "4194304+256?");
  CHECK(parsed("0x400000") == "4194304+256?");
  CHECK(parsed("0X40:16") == "64+16");
  CHECK(parsed("fF:0x10") == "255+16");
  for (const char* bad : {"", ":", "0x", "40:", "40:0", "40:0x", "zz", "40:-1", "40:1k", " 40",
                          "ffffffffffffffff:2", "10000000000000000", "40:1:2"}) {
    INFO(bad);
    CHECK(parsed(bad).empty());
  }
}

TEST_CASE("memory is shown as hexdump -C shows it") {
  auto b = image_builder();
  std::string content;
  for (int i = 0; i < 256; ++i) content += static_cast<char>(i);
  b.segment(0x400000, 2).page(0x400000, content);
  auto image = test::opened(b.build());
  CHECK(dumped(image, "400038:20") ==
        "000000400038  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47  |89:;<=>?@ABCDEFG|\n"
        "000000400048  48 49 4a 4b                                       |HIJK|\n"
        "00000040004c\n");
  CHECK(dumped(image, "40007c:8") ==
        "00000040007c  7c 7d 7e 7f 80 81 82 83                           ||}~.....|\n"
        "000000400084\n");
  CHECK(dumped(image, "400ff8:0x30") ==
        "000000400ff8  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
        "*\n"
        "000000401028\n");
}

TEST_CASE("a star stands for repeated lines across the reader's own pieces") {
  auto b = image_builder();
  b.segment(0x400000, 64).page(0x400000, 'a').page(0x43f000, 'z');
  auto image = test::opened(b.build());
  CHECK(dumped(image, "400000:0x40000") ==
        "000000400000  61 61 61 61 61 61 61 61  61 61 61 61 61 61 61 61  |aaaaaaaaaaaaaaaa|\n"
        "*\n"
        "000000401000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
        "*\n"
        "00000043f000  7a 7a 7a 7a 7a 7a 7a 7a  7a 7a 7a 7a 7a 7a 7a 7a  |zzzzzzzzzzzzzzzz|\n"
        "*\n"
        "000000440000\n");
}

TEST_CASE("without a length the dump ends where the memory ends, with one it is refused") {
  auto image = test::opened(image_builder::typical().build());
  CHECK(dumped(image, "403ff8") ==
        "000000403ff8  00 00 00 00 00 00 00 00                           |........|\n"
        "000000404000\n");
  CHECK(refused(image, "403ff8:9") ==
        "addresses 000000403ff8-000000404001 are not all mapped, only up to 000000404000");
  CHECK(refused(image, "404000") == "address 000000404000 is not mapped");
  CHECK(refused(image, "0:1") == "address 000000000000 is not mapped");
  CHECK(refused(image, "7ffd00010000") ==
        "address 7ffd00010000 is the kernel's data page, which no image holds");
}

TEST_CASE("only the blocks that a dump touches are verified") {
  auto damaged = image_builder::typical().build();
  const auto h = test::header_of(damaged);
  damaged[h.data_offset + 1] ^= std::byte{1};
  auto image = test::opened(std::move(damaged));
  CHECK(refused(image, "400000:1") == "block 0 of the data is damaged (checksum mismatch)");
  CHECK(refused(image, "401000:1").empty());
  std::ostringstream out;
  CHECK(test::refusal([&] { verify(image, verify_of("name"), out); }) ==
        "1 of 11 blocks of the data are damaged (checksum mismatch), the first is block 0, at "
        "address 000000400000");
  CHECK(out.str().empty());
}

TEST_CASE("a whole image is said to be whole") {
  auto image = test::opened(image_builder::typical().build());
  std::ostringstream out;
  verify(image, verify_of("na\nme"), out);
  CHECK(out.str() == "na\\012me: whole, 11 blocks, 44 KiB of data\n");
}

}  // namespace
}  // namespace ckpt::tools
