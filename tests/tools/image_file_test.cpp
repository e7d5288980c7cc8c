// SPDX-License-Identifier: MIT
//
// The tools' reader: everything that can be wrong with a file, and data verified as it is read.
#include "image_file.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "support/catch.hpp"
#include "support/image_builder.hpp"
#include "support/memory_image.hpp"
#include "support/scratch_directory.hpp"

namespace ckpt::tools {
namespace {

using test::image_builder;
using test::image_bytes;
using test::opened;
using test::refusal;

std::string refused(image_bytes image) {
  return refusal([&] { (void)opened(std::move(image)); });
}
std::string refused(const std::string& path) {
  return refusal([&] { (void)image_file(path); });
}

TEST_CASE("an image is opened with its records") {
  auto image = opened(image_builder::typical().build());
  CHECK(image.header().window_address == image_builder::window);
  CHECK(image.all<state::segment>().size() == 7);
  CHECK(text_of_bytes(image.all<state::segment>()[1].tail) == "[heap]");
  CHECK(image.one<state::process>().fields.pid == 4711);
  CHECK(image.text(state::text_kind::program) == "/usr/bin/victim");
  CHECK(image.words(state::text_kind::command_line) ==
        std::vector<std::string>{"victim", "--count", "two words"});
  CHECK(image.words(state::text_kind::auxiliary_vector).empty());
}

TEST_CASE("words need no NUL after the last, and may be empty") {
  auto b = image_builder();
  b.text(state::text_kind::command_line, std::string("a\0\0b", 4));
  CHECK(opened(b.build()).words(state::text_kind::command_line) ==
        std::vector<std::string>{"a", "", "b"});
}

TEST_CASE("an image that is cut anywhere is refused") {
  const auto whole = image_builder::typical().build();
  for (std::size_t n = 0; n < whole.size(); n += 97) {
    INFO(n << " bytes");
    const auto why = refused(image_bytes(whole.begin(), whole.begin() + static_cast<long>(n)));
    const bool header_is_there = n >= format::header_offset + sizeof(format::magic);
    CHECK(why.starts_with(header_is_there ? "cut off: " : "not a ckpt image"));
  }
}

TEST_CASE("damage outside the data is noticed when the image is opened") {
  const auto whole = image_builder::typical().build();
  const auto h = test::header_of(whole);
  const auto with_flip = [&](u64 offset) {
    auto image = whole;
    image[offset] ^= std::byte{1};
    return refused(std::move(image));
  };
  const std::string restarter = "the restarter is damaged (checksum mismatch)";
  CHECK(with_flip(0) == restarter);
  CHECK(with_flip(format::header_offset - 1) == restarter);
  CHECK(with_flip(format::header_offset + sizeof h) == restarter);
  CHECK(with_flip(h.metadata_offset - 1) == restarter);
  CHECK(with_flip(h.metadata_offset) == "the metadata is damaged (checksum mismatch)");
  CHECK(with_flip(h.table_offset) == "the checksums of the data are damaged (checksum mismatch)");
  CHECK(with_flip(whole.size() - 1) == "the end of the image is damaged or belongs to another");
  CHECK(with_flip(h.data_offset).empty());
}

TEST_CASE("data is verified block by block") {
  auto damaged = image_builder::typical().build();
  const auto h = test::header_of(damaged);
  REQUIRE(h.data_size == 11 * page_size);
  damaged[h.data_offset + 2 * page_size + 77] ^= std::byte{0x80};
  auto image = opened(std::move(damaged));
  CHECK(image.block_count() == 11);
  for (u64 i = 0; i < 11; ++i) CHECK(image.verify_block(i) == (i != 2));

  std::vector<std::byte> buffer(page_size + 10);
  image.read_data(page_size / 2, buffer);  // from the first block into the second
  CHECK(static_cast<char>(buffer[0]) == 'c');
  CHECK(static_cast<char>(buffer[page_size]) == 'd');
  CHECK(refusal([&] { image.read_data(2 * page_size - 1, buffer); }) ==
        "block 2 of the data is damaged (checksum mismatch)");
  CHECK_FALSE(image.verify_block(2));
}

TEST_CASE("the last block may be short") {
  auto b = image_builder::typical();
  b.block_size = 4 * page_size;
  auto image = opened(b.build());
  CHECK(image.block_count() == 3);
  CHECK(image.block(2) == range{8 * page_size, 11 * page_size});
  for (u64 i = 0; i < 3; ++i) CHECK(image.verify_block(i));
}

TEST_CASE("what is not a readable regular file is refused by name") {
  const test::scratch_directory directory;
  CHECK(refused(directory.path()) == "is a directory");
  CHECK(refused(directory.path() + "/missing") == "no such file or directory");
  CHECK(refused("/dev/null") == "not a regular file");
  std::ofstream(directory.path() + "/empty");
  CHECK(refused(directory.path() + "/empty") == "not a ckpt image (it is empty)");
  // Nobody writes to the pipe: the open must not wait for one.
  REQUIRE(::mkfifo((directory.path() + "/pipe").c_str(), 0600) == 0);
  CHECK(refused(directory.path() + "/pipe") == "not a regular file");
}

/// Gives less than its size from some offset on, as a file does that shrinks.
class shrunk_source final : public byte_source {
 public:
  shrunk_source(image_bytes image, u64 left) : whole_(std::move(image)), left_(left) {}
  [[nodiscard]] u64 size() const override { return whole_.size(); }
  [[nodiscard]] result<u64> read(u64 offset, mutable_bytes to) const override {
    if (offset >= left_) return u64{0};
    return whole_.read(offset, to.first(std::min<u64>(to.size(), left_ - offset)));
  }

 private:
  memory_source whole_;
  u64 left_;
};

TEST_CASE("a file that shrinks while it is read ends in a line") {
  const auto whole = image_builder::typical().build();
  for (u64 left = 1000; left < whole.size(); left += 1000) {
    const auto why = refusal([&] {
      image_file image(std::make_unique<shrunk_source>(whole, left));
      std::vector<std::byte> all(image.header().data_size);
      image.read_data(0, all);
    });
    INFO(left);
    CHECK(why == "cut off while it was being read");
  }
}

TEST_CASE("the fuzzer's seeds are images of this version") {
  int seeds = 0;
  for (const auto& entry : std::filesystem::directory_iterator(CKPT_FUZZ_SEEDS)) {
    INFO(entry.path() << ": build make_fuzz_seeds and run it");
    CHECK(refused(entry.path().string()).empty());
    ++seeds;
  }
  CHECK(seeds >= 3);
}

class failing_source final : public byte_source {
 public:
  [[nodiscard]] u64 size() const override { return 1 << 20; }
  [[nodiscard]] result<u64> read(u64, mutable_bytes) const override { return errc::io; }
};

TEST_CASE("an error of the disk is named") {
  CHECK(refusal([] { image_file image(std::make_unique<failing_source>()); }) ==
        "input/output error");
}

}  // namespace
}  // namespace ckpt::tools
